// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Interrupts between processors by the port: one call for any number of them, where the local APIC wants one register write for each.
 * smp_ops is called indirectly, and so is the one place at which a module can do that; TLB flushes of other processors go by it, too
 * (send_call_func_ipi).
 */
#include "module.h"

#include <asm/irq_vectors.h>
#include <asm/smp.h>

static void (*native_call_func)(const struct cpumask *mask);
static void (*native_call_func_single)(int cpu);
static void (*native_reschedule)(int cpu);

/* Processor numbers are the machine's and Linux's alike, up to 64. */
static bool send(u8 vector, u64 mask)
{
	return callgate_call(CALLGATE_IPI, vector, mask, 0, 0, NULL) == CALLGATE_OK;
}
static void callgate_call_func(const struct cpumask *mask)
{
	if (!send(CALL_FUNCTION_VECTOR, cpumask_bits(mask)[0]))
		native_call_func(mask);
}
static void callgate_call_func_single(int cpu)
{
	if (!send(CALL_FUNCTION_SINGLE_VECTOR, 1ull << cpu))
		native_call_func_single(cpu);
}
static void callgate_reschedule(int cpu)
{
	if (!send(RESCHEDULE_VECTOR, 1ull << cpu))
		native_reschedule(cpu);
}

int callgate_ipi_init(void)
{
	unsigned int cpu;

	if (nr_cpu_ids > 64)
		return -E2BIG;
	if (num_possible_cpus() < 2)
		return -ENODEV;
	for_each_present_cpu(cpu)
		if (cpu_data(cpu).initial_apicid != cpu)
			return -EINVAL;
	native_call_func = smp_ops.send_call_func_ipi;
	native_call_func_single = smp_ops.send_call_func_single_ipi;
	native_reschedule = smp_ops.smp_send_reschedule;
	smp_ops.send_call_func_ipi = callgate_call_func;
	smp_ops.send_call_func_single_ipi = callgate_call_func_single;
	smp_ops.smp_send_reschedule = callgate_reschedule;
	return 0;
}
