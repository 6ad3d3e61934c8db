/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Many new pages of anonymous memory at once (fresh_pages.c). */
#ifndef CALLGATE_FRESH_PAGES_H
#define CALLGATE_FRESH_PAGES_H

#include <linux/mm_types.h>

/* Finds what it needs of the kernel's; an error when that isn't there: then callgate_fresh_pages() brings none. */
int callgate_fresh_pages_init(void);

/*
 * Puts new, zeroed pages where a process's private, writable memory has none: PMD is the entry for the page table, ENTRY the one of
 * ADDRESS in it, COUNT are the pages from there on, all of VMA's and of that page table. mmap_lock is held. When memory is short
 * there are fewer: it frees none for them, and COUNT is then how many from ADDRESS on are there. False: nothing can be done this way here.
 */
bool callgate_fresh_pages(struct vm_area_struct *vma, unsigned long address, pmd_t *pmd, pte_t *entry, unsigned int *count);

#endif
