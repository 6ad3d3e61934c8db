// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * An idle driver: a processor without work waits by HALT_UNTIL, which sets IF and halts in one instruction. One that is likely to wait for
 * longer leaves the address space that it had last, so that nobody has to interrupt it when that changes. So does one that was only
 * interrupted since it waited last: such interrupts keep its waits short, and it would be in their way for ever.
 */
#include <linux/cpuidle.h>
#include <linux/percpu.h>
#include <linux/sched/idle.h>
#include <asm/mmu.h>

#include "module.h"

/* How often this processor's idle task had given way to others when it waited last. */
static DEFINE_PER_CPU(unsigned long, gave_way);

static bool only_interrupted(void)
{
	const unsigned long now = current->nvcsw + current->nivcsw;
	const bool same = this_cpu_read(gave_way) == now;

	this_cpu_write(gave_way, now);
	return same;
}

static int callgate_enter(struct cpuidle_device *device, struct cpuidle_driver *driver, int index)
{
	if (current_clr_polling_and_test()) {
		raw_local_irq_enable();
		return index;
	}
	if (only_interrupted() && !(driver->states[index].flags & CPUIDLE_FLAG_TLB_FLUSHED))
		leave_mm(smp_processor_id());
	callgate_call(CALLGATE_HALT_UNTIL, (uintptr_t)-1, CALLGATE_HALT_ENABLE, 0, 0, NULL);
	return index;
}

static struct cpuidle_driver callgate_driver = {
	.name = "callgate",
	.owner = THIS_MODULE,
	.states = { {
		.enter = callgate_enter,
		.exit_latency = 1,
		.target_residency = 1,
		.name = "halt",
		.desc = "HALT_UNTIL of Callgate's port",
	}, {
		.enter = callgate_enter,
		.flags = CPUIDLE_FLAG_TLB_FLUSHED, /* the kernel calls leave_mm() */
		.exit_latency = 2,
		.target_residency = 50,
		.name = "away",
		.desc = "the same, in no address space",
	} },
	.state_count = 2,
	.safe_state_index = 0,
};

int callgate_idle_init(void) { return cpuidle_register(&callgate_driver, NULL); }
