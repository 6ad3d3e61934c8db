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
/* vm.mmap_rnd_bits, until the first program is placed: from then on the kernel itself adds nothing. */
static int *random_bits;

static void take_over(void)
{
	if (random_bits)
		WRITE_ONCE(*random_bits, 0);
	random_bits = NULL;
}

/* Before setup_arg_pages(): a new program's memory is laid out, and nothing is mapped yet. */
static bool before_mappings(struct callgate_call_state *call)
{
	take_over();
	if ((current->flags & PF_RANDOMIZE) && !test_thread_flag(TIF_ADDR32))
		current->mm->mmap_base -= below;
	return false;
}

/* Instead of arch_mmap_rnd(), whose caller has looked at PF_RANDOMIZE. */
static bool place_program(struct callgate_call_state *call)
{
	take_over();
	call->result = above;
	return !test_thread_flag(TIF_ADDR32);
}

int callgate_layout_init(void)
{
	int *bits = (void *)callgate_symbol("mmap_rnd_bits");

	if (!bits || *bits <= 0 || *bits >= BITS_PER_LONG - PAGE_SHIFT)
		return -ENOENT;
	below = get_random_long() % (1ul << *bits) << PAGE_SHIFT;
	above = get_random_long() % (1ul << *bits) << PAGE_SHIFT;
	if (!callgate_intercept(callgate_symbol("arch_mmap_rnd"), place_program) ||
	    !callgate_intercept((unsigned long)setup_arg_pages, before_mappings))
		return -EOPNOTSUPP;
	random_bits = bits;
	return 0;
}
