/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What pages a program is known to use (working_set.c). */
#ifndef CALLGATE_WORKING_SET_H
#define CALLGATE_WORKING_SET_H

#include <linux/types.h>

enum callgate_use {
	CALLGATE_READS,
	CALLGATE_WRITES, /* the first ones of a page */
	CALLGATE_COPIES, /* of pages that a fork() left to parent and child */
};

enum { CALLGATE_NEIGHBOURS = 256 };

/*
 * A fault of this process at a page, counted from anywhere in a space that means the same each time the program runs. PAGES gets a bit
 * for each of its CALLGATE_NEIGHBOURS neighbours (from page rounded down on) that should come: those that are known, or, for learning,
 * its own alone. False: nothing is known.
 */
bool callgate_working_set(enum callgate_use use, u64 space, u64 page, unsigned long *pages);

#endif
