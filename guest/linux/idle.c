// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * An idle driver: a processor without work waits by HALT_UNTIL, which sets IF and halts in one instruction. One that is likely to wait for
 * longer leaves the address space that it had last, so that nobody has to interrupt it when that changes.
 */
#include <linux/cpuidle.h>
#include <linux/sched/idle.h>

#include "module.h"

static int callgate_enter(struct cpuidle_device *device, struct cpuidle_driver *driver, int index)
{
	if (current_clr_polling_and_test()) {
		raw_local_irq_enable();
		return index;
	}
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
