// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Callgate's port for Linux 6.1: a console, a clock source and clock events, an idle driver, IPIs to many processors in one call, a
 * panic notifier, /dev/callgate for tests, hooks of the kernel's own functions, pages ahead of page faults, and new programs where a
 * translator likes them. Found by CPUID; on any other machine the module does not load. Each part can be left out: console=0 clock=0
 * idle=0 ipi=0 panic=0 device=0 hooks=0 prefault=0 working_set=0 layout=0 ldt=0 sched=0.
 */
#include "module.h"

static bool console = true, clock = true, idle = true, ipi = true, use_panic = true, device = true, hooks = true, layout = true, ldt = true,
	    sched = true;
module_param(console, bool, 0444);
module_param(clock, bool, 0444);
module_param(idle, bool, 0444);
module_param(ipi, bool, 0444);
module_param_named(panic, use_panic, bool, 0444);
module_param(device, bool, 0444);
module_param(hooks, bool, 0444);
module_param(layout, bool, 0444);
module_param(ldt, bool, 0444);
module_param(sched, bool, 0444);

static uint panic_exit;
module_param(panic_exit, uint, 0444);
MODULE_PARM_DESC(panic_exit, "end the machine's run with this status when the kernel panics; 0: let it be");

static int on_panic(struct notifier_block *block, unsigned long event, void *text)
{
	callgate_call(CALLGATE_LOG, (uintptr_t)text, min_t(size_t, strlen(text), 1024), 0, 0, NULL);
	if (panic_exit)
		callgate_exit(panic_exit);
	return NOTIFY_DONE;
}
static struct notifier_block panic_block = { .notifier_call = on_panic };

static int __init callgate_init(void)
{
	static const struct {
		const char *name;
		bool *wanted;
		u32 needs;
		int (*start)(void);
	} parts[] = {
		{ "console", &console, CALLGATE_F_CONSOLE, callgate_console_init },
		{ "idle", &idle, CALLGATE_F_IRQ, callgate_idle_init },
		{ "ipi", &ipi, CALLGATE_F_IRQ, callgate_ipi_init },
		{ "device", &device, CALLGATE_F_TEST, callgate_device_init },
		{ "hooks", &hooks, CALLGATE_F_HOOKS, callgate_hooks_init },
		{ "ldt", &ldt, CALLGATE_F_ALL, callgate_ldt_init },
		{ "layout", &layout, CALLGATE_F_ALL, callgate_layout_init },
		{ "sched", &sched, CALLGATE_F_ALL, callgate_sched_init },
		{ "prefault", NULL, CALLGATE_F_ALL, callgate_prefault_init },
		{ "intercept", NULL, CALLGATE_F_ALL, callgate_intercept_init }, /* what ldt, layout and prefault asked for */
		{ "clock", &clock, CALLGATE_F_TIME, callgate_clock_init },
	};
	u64 granted = 0;
	u32 status;
	int i;

	if (!callgate_cpuid_base() || !callgate_present())
		return -ENODEV;
	status = callgate_hello(CALLGATE_F_ALL, &granted);
	if (status != CALLGATE_OK)
		return -EIO;
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		int error;

		if ((parts[i].wanted && !*parts[i].wanted) || !(granted & parts[i].needs))
			continue;
		error = parts[i].start();
		if (error)
			pr_warn("callgate: %s is not used (%d)\n", parts[i].name, error);
		else
			pr_info("callgate: %s\n", parts[i].name);
	}
	if (use_panic && (granted & CALLGATE_F_TEST))
		atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	return 0;
}

/* The kernel holds on to clocks, consoles and idle drivers: there is no way out again. */
module_init(callgate_init);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Callgate's paravirtual port");
