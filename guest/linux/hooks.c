// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The kernel's own functions that the port executes as one instruction (paravirt/ABI.md, group 7): found by name, hashed as they are in
 * memory now, behind all patching. Their code stays, so a function that is traced or patched later is simply itself again.
 * What is hooked under a name is what that function does in 6.1, whatever way its bytes go about it.
 */
#include <linux/kprobes.h>
#include <asm/desc.h>

#include "module.h"

/* kallsyms_lookup_name() is not for modules; a probe on it tells where it is. One that is not armed: that would be ftrace's work. */
unsigned long callgate_symbol(const char *name)
{
	static unsigned long (*lookup_name)(const char *name);

	if (!lookup_name) {
		struct kprobe probe = { .symbol_name = "kallsyms_lookup_name", .flags = KPROBE_FLAG_DISABLED };

		if (register_kprobe(&probe))
			return 0;
		lookup_name = (void *)probe.addr;
		unregister_kprobe(&probe);
	}
	return lookup_name(name);
}

static int (*lookup_size)(unsigned long address, unsigned long *size, unsigned long *offset);

static bool hook(const char *name, u32 kind, u64 detail1, u64 detail2)
{
	unsigned long at = callgate_symbol(name), size = 0, offset = 0;
	u64 slot = 0;
	u32 status;

	if (!at || !lookup_size(at, &size, &offset) || offset)
		return false;
	size = min_t(unsigned long, size, CALLGATE_MAX_HOOK_BYTES);
	status = callgate_hook((void *)at, kind, size, detail1, detail2, &slot);
	if (status == CALLGATE_OK)
		pr_info("callgate: hooked %s\n", name);
	else
		pr_warn("callgate: %s is not hooked (status %u, %llu)\n", name, status, slot);
	return status == CALLGATE_OK;
}

static bool all_hooks;
module_param(all_hooks, bool, 0444);
MODULE_PARM_DESC(all_hooks, "hook what the processor's string instructions do as well, too: for tests and measurements");

int callgate_hooks_init(void)
{
	static const struct {
		const char *name;
		u32 kind;
	} functions[] = {
		/* Of each the one that this processor's features have chosen is used. */
		{ "clear_page_erms", CALLGATE_CLEAR_PAGE_FUNCTION },
		{ "clear_page_rep", CALLGATE_CLEAR_PAGE_FUNCTION },
		{ "clear_page_orig", CALLGATE_CLEAR_PAGE_FUNCTION },
		{ "copy_page", CALLGATE_COPY_PAGE_FUNCTION },
		{ "memcpy", CALLGATE_MEMCPY_FUNCTION },
		{ "memset", CALLGATE_MEMSET_FUNCTION },
		{ "copy_user_enhanced_fast_string", CALLGATE_COPY_USER_FUNCTION },
		{ "copy_user_generic_string", CALLGATE_COPY_USER_FUNCTION },
		{ "copy_user_generic_unrolled", CALLGATE_COPY_USER_FUNCTION },
	};
	bool any = false;
	int i;

	lookup_size = (void *)callgate_symbol("kallsyms_lookup_size_offset");
	if (!lookup_size)
		return -ENOENT;
	any |= hook("delay_tsc", CALLGATE_DELAY_FUNCTION, 0, 0);
	for (i = 0; all_hooks && i < ARRAY_SIZE(functions); i++)
		any |= hook(functions[i].name, functions[i].kind, 0, 0);
	/* The GDT that GS points beside is the one that may be written; GDTR has an alias for reading only. */
	if (all_hooks)
		any |= hook("native_set_ldt", CALLGATE_LOAD_LDT_FUNCTION, GDT_ENTRY_LDT * 8, (unsigned long)&gdt_page);
	if (num_possible_cpus() > 1)
		any |= hook("native_queued_spin_lock_slowpath", CALLGATE_YIELD_FUNCTION, 0, 0);
	return any ? 0 : -ENOENT;
}
