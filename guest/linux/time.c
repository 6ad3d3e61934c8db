// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The port's time as a clock source, and its alarm as clock events. Rated below the TSC and its deadline timer, which cost less here
 * (QUERY says so: "native"), so they are for machines without those, and for who asks:
 *   echo callgate > /sys/devices/system/clocksource/clocksource0/current_clocksource
 */
#include "module.h"

#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/cpu.h>
#include <linux/percpu.h>
#include <linux/sched/task_stack.h>
#include <asm/irq_regs.h>
#include <asm/irq_vectors.h>
#if IS_ENABLED(CONFIG_HAVE_KVM)
#include <asm/irq.h>
#endif

static bool events;
module_param(events, bool, 0444);
MODULE_PARM_DESC(events, "use the port's alarm for clock events instead of the local APIC's timer");

static u64 callgate_read(struct clocksource *source)
{
	u64 value = 0;

	callgate_call(CALLGATE_NOW, 0, 0, 0, 0, &value);
	return value;
}

static struct clocksource callgate_source = {
	.name = "callgate",
	.rating = 250,
	.read = callgate_read,
	.mask = CLOCKSOURCE_MASK(62),
	.flags = CLOCK_SOURCE_IS_CONTINUOUS,
};

#if IS_ENABLED(CONFIG_HAVE_KVM)
/* The one vector for which a module can have a handler: KVM's, for processors that it runs guests on. */
static DEFINE_PER_CPU(struct clock_event_device, callgate_events);

static int callgate_next(unsigned long delta, struct clock_event_device *device)
{
	return callgate_call(CALLGATE_DEADLINE, callgate_read(NULL) + delta, POSTED_INTR_WAKEUP_VECTOR, 0, 0, NULL) == CALLGATE_OK ? 0 : -ETIME;
}
static int callgate_stop(struct clock_event_device *device)
{
	callgate_call(CALLGATE_DEADLINE, 0, 0, 0, 0, NULL);
	return 0;
}

/*
 * The tick asks whom it has interrupted, which KVM's vector doesn't tell: without an answer it does nothing, and RCU and timers stand
 * still. An interrupt of a program is handled on its task's stack, with its registers at the top; one of the kernel on a stack of its own.
 */
static DEFINE_PER_CPU(struct pt_regs, in_kernel) = { .cs = __KERNEL_CS };

static struct pt_regs *interrupted(void)
{
	if (current_stack_pointer - (unsigned long)task_stack_page(current) < THREAD_SIZE)
		return task_pt_regs(current);
	return this_cpu_ptr(&in_kernel);
}

static void callgate_alarm(void)
{
	struct clock_event_device *device = this_cpu_ptr(&callgate_events);
	struct pt_regs *before = set_irq_regs(interrupted());

	if (device->event_handler)
		device->event_handler(device);
	set_irq_regs(before);
}
static int callgate_events_start(unsigned int cpu)
{
	struct clock_event_device *device = per_cpu_ptr(&callgate_events, cpu);

	device->name = "callgate";
	device->features = CLOCK_EVT_FEAT_ONESHOT;
	device->rating = 400;
	device->set_next_event = callgate_next;
	device->set_state_shutdown = callgate_stop;
	device->set_state_oneshot_stopped = callgate_stop;
	device->cpumask = cpumask_of(cpu);
	clockevents_config_and_register(device, NSEC_PER_SEC, 100, LONG_MAX >> 2); /* DEADLINE takes no times from 2^62 */
	return 0;
}
static int callgate_events_init(void)
{
	int error;

	kvm_set_posted_intr_wakeup_handler(callgate_alarm);
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "callgate:online", callgate_events_start, NULL);
	return error < 0 ? error : 0;
}
#else
static int callgate_events_init(void) { return -ENODEV; }
#endif

int callgate_clock_init(void)
{
	int error = clocksource_register_hz(&callgate_source, NSEC_PER_SEC);

	if (!error && events)
		error = callgate_events_init();
	return error;
}
