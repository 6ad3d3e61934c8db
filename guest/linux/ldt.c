// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A descriptor of a process's LDT is written where it is. Linux makes a new LDT for each change, since other processors may use the old
 * one; where the process has one thread only, none does. Everything else, and each error, is left to the kernel: entries that the LDT is
 * too short for, 16-bit segments, conforming code.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <asm/desc.h>
#include <asm/ldt.h>
#include <asm/mmu_context.h>

#include "module.h"

/* What is in DS and ES may be the descriptor that changed. */
static void reload(void)
{
	unsigned int selector;

	savesegment(ds, selector);
	if ((selector & SEGMENT_TI_MASK) == SEGMENT_LDT)
		loadsegment(ds, selector);
	savesegment(es, selector);
	if ((selector & SEGMENT_TI_MASK) == SEGMENT_LDT)
		loadsegment(es, selector);
}

/* Instead of write_ldt(pointer, bytes, oldmode). */
static bool write_in_place(struct callgate_call_state *call)
{
	struct mm_struct *const mm = current->mm;
	struct user_desc info;
	struct desc_struct entry;
	bool done = false;

	if (call->argument[1] != sizeof(info) || call->argument[2] || atomic_read(&mm->mm_users) != 1 || !READ_ONCE(mm->context.ldt) ||
	    copy_from_user(&info, (void __user *)call->argument[0], sizeof(info)))
		return false;
	if (info.contents == 3 || !info.seg_32bit || LDT_empty(&info) || info.entry_number >= LDT_ENTRIES)
		return false;
	fill_ldt(&entry, &info);
	if (down_write_killable(&mm->context.ldt_usr_sem))
		return false;
	if (info.entry_number < mm->context.ldt->nr_entries) {
		preempt_disable();
		write_ldt_entry(mm->context.ldt->entries, info.entry_number, &entry);
		reload();
		preempt_enable();
		done = true;
	}
	up_write(&mm->context.ldt_usr_sem);
	return done; /* with 0 */
}

int callgate_ldt_init(void)
{
	return callgate_intercept(callgate_symbol("write_ldt"), write_in_place) ? 0 : -EOPNOTSUPP;
}
