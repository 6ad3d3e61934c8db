// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Programs stay where they are. Linux puts what fork() and execve() begin on an idle processor, if there is one; but the processors of
 * this machine take turns on one of the host's, so nothing is gained by it, and caches that know nothing of the program, interrupts and
 * a stopped processor are lost. What runs for longer is spread over all processors as ever (ticks, and processors that have nothing to
 * do, look for it).
 */
#include <linux/cpu.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/topology.h>

#include "module.h"

int callgate_sched_init(void)
{
	/* Each processor's domain of those with the same last-level cache; the others are above and below it. */
	struct sched_domain __rcu *__percpu *with_cache = (void *)callgate_symbol("sd_llc");
	struct sched_domain *domain;
	bool any = false;
	int cpu;

	if (num_online_cpus() < 2 || !with_cache)
		return -ENOENT;
	cpus_read_lock();
	rcu_read_lock();
	for_each_online_cpu(cpu) {
		domain = rcu_dereference(*per_cpu_ptr(with_cache, cpu));
		while (domain && domain->child)
			domain = domain->child;
		for (; domain; domain = domain->parent) {
			WRITE_ONCE(domain->flags, domain->flags & ~(SD_BALANCE_FORK | SD_BALANCE_EXEC));
			any = true;
		}
	}
	rcu_read_unlock();
	cpus_read_unlock();
	return any ? 0 : -ENOENT;
}
