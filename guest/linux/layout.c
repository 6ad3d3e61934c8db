// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Programs and libraries lie where they lay before. A translation of their code is for the address that it has, and Linux draws a new
 * one for each process; here the addresses of mappings and of position-independent programs are drawn once for each boot, as other
 * systems do it with their libraries. Stacks and heaps stay where chance puts them each time, and what asks for no randomness at all
 * (setarch -R, randomize_va_space=0) gets none. Programs for 32 bits are as ever.
 */
#include <linux/binfmts.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/sched.h>

#include "module.h"

/* Drawn at the start, in bytes: how far below their highest place mappings begin, and how far above its lowest a program lies. */
static unsigned long below, above;
enum { kRandomBits = 28 }; /* as vm.mmap_rnd_bits has it */

/*
 * Before setup_arg_pages(): a new program's memory is laid out, and nothing is mapped yet. What was drawn for it is what the base of the
 * old, upward layout has more than its least.
 */
static bool before_mappings(struct callgate_call_state *call)
{
	struct mm_struct *const mm = current->mm;

	if ((current->flags & PF_RANDOMIZE) && !test_thread_flag(TIF_ADDR32) && mm->mmap_base != mm->mmap_legacy_base)
		mm->mmap_base += mm->mmap_legacy_base - TASK_UNMAPPED_BASE - below;
	return false;
}

/* Instead of arch_mmap_rnd(), whose caller has looked at PF_RANDOMIZE. */
static bool place_program(struct callgate_call_state *call)
{
	call->result = above;
	return !test_thread_flag(TIF_ADDR32);
}

int callgate_layout_init(void)
{
	below = get_random_long() % (1ul << kRandomBits) << PAGE_SHIFT;
	above = get_random_long() % (1ul << kRandomBits) << PAGE_SHIFT;
	if (!callgate_intercept(callgate_symbol("arch_mmap_rnd"), place_program) ||
	    !callgate_intercept((unsigned long)setup_arg_pages, before_mappings))
		return -EOPNOTSUPP;
	return 0;
}
