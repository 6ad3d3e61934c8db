// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The pages that a program is known to use. The same program, started again, uses mostly the same pages, and so does each child that a
 * shell forks. Where a fault hits a page that was used before, the others of its neighbourhood that were used before can come with it,
 * and no more: Linux maps sixteen pages of a file around each fault, used or not, and each of them costs as much again when the
 * process ends.
 *
 * What is known is learned from faults. Now and then a neighbourhood is in training: each fault brings its own page only, so that the
 * faults tell what is used. What the last two trainings agree on is known. All of it is a guess, which does no harm if it is wrong.
 */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "module.h"
#include "working_set.h"

enum { kSetBits = 10 };

/* What is known of a neighbourhood, and of its present episode: the faults of one process until those of another one. */
struct working_set {
	u64 key;
	DECLARE_BITMAP(known, CALLGATE_NEIGHBOURS);
	DECLARE_BITMAP(before, CALLGATE_NEIGHBOURS); /* what the training before the last one found */
	DECLARE_BITMAP(seen, CALLGATE_NEIGHBOURS); /* faults of this episode */
	const struct mm_struct *owner;
	u32 last; /* when its owner's last fault was, in jiffies */
	u32 episode;
};
static struct working_set sets[1 << kSetBits]; /* without a lock: what two processors make of one at once is a guess, too */

static bool in_training(const struct working_set *set)
{
	return set->episode >= 2 && is_power_of_2(set->episode);
}

/* Ends the episode: what a training has found takes effect. */
static void next_episode(struct working_set *set, const struct mm_struct *owner)
{
	if (in_training(set)) {
		if (set->episode == 2)
			bitmap_copy(set->known, set->seen, CALLGATE_NEIGHBOURS);
		else
			bitmap_and(set->known, set->seen, set->before, CALLGATE_NEIGHBOURS);
		bitmap_copy(set->before, set->seen, CALLGATE_NEIGHBOURS);
	}
	set->episode++;
	bitmap_zero(set->seen, CALLGATE_NEIGHBOURS);
	set->owner = owner;
}

/* Programs are told apart by their file, and what a child does before it executes another one from what a program does. */
static u64 program(void)
{
	const struct file *file;
	u64 name = 0;

	rcu_read_lock();
	file = rcu_dereference(current->mm->exe_file);
	if (file)
		name = (uintptr_t)file->f_inode;
	rcu_read_unlock();
	return name + (current->flags & PF_FORKNOEXEC ? 1 : 0);
}

bool callgate_working_set(enum callgate_use use, u64 space, u64 page, unsigned long *pages)
{
	const unsigned int bit = page % CALLGATE_NEIGHBOURS;
	/* Two sets with one key are as good as impossible, and one is as good as the other then. */
	const u64 key = ((program() * GOLDEN_RATIO_64 + space) * GOLDEN_RATIO_64 + page / CALLGATE_NEIGHBOURS) * GOLDEN_RATIO_64 + use;
	struct working_set *set = &sets[hash_64(key, kSetBits)];
	const u32 now = jiffies;

	if (set->key != key)
		*set = (struct working_set){ .key = key };
	if (set->last != now && (set->owner != current->mm || test_bit(bit, set->seen)))
		next_episode(set, current->mm);
	if (set->owner == current->mm) {
		set->last = now;
		__set_bit(bit, set->seen);
		if (in_training(set)) {
			bitmap_zero(pages, CALLGATE_NEIGHBOURS);
			__set_bit(bit, pages);
			return true;
		}
	}
	if (!test_bit(bit, set->known))
		return false;
	bitmap_copy(pages, set->known, CALLGATE_NEIGHBOURS);
	return true;
}
