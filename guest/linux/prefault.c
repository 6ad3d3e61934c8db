// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Pages ahead of a page fault. An exception costs an emulated processor as much as a thousand instructions; what the kernel does for
 * one more page costs much less. So a fault brings others along:
 *   - where a process writes new pages of anonymous memory one after the other, some of the next ones: one at first, twice as many each
 *     time, up to prefault=N. Read-ahead for memory, as the kernel itself does it for files (fault_around_bytes);
 *   - elsewhere those that the program is known to use (working_set.c): working_set=1.
 * Pages that are there, shared, swapped out or watched by userfaultfd are left alone.
 */
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/userfaultfd_k.h>

#include "fresh_pages.h"
#include "module.h"
#include "working_set.h"

static uint prefault = 64;
module_param(prefault, uint, 0444);
MODULE_PARM_DESC(prefault, "most pages that a page fault brings ahead of it; 0: none");

static bool working_set = true;
module_param(working_set, bool, 0444);
MODULE_PARM_DESC(working_set, "bring the pages that the same program used before");

/* Where a run of faults is to go on, if it does. A guess: that of another process's does no harm. */
struct run {
	unsigned long next;
	uint pages;
};
static DEFINE_PER_CPU(struct run, last_run);
enum { kLongRun = 4 };

/* Memory that is the process's own alone, as far as anything in it is written. */
static bool suits(const struct vm_area_struct *vma)
{
	return vma->vm_mm == current->mm && (!vma->vm_ops || vma->vm_ops->map_pages == filemap_map_pages) &&
	       (vma->vm_flags & (VM_WRITE | VM_SHARED | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB | VM_LOCKED)) == VM_WRITE &&
	       !userfaultfd_armed((struct vm_area_struct *)vma);
}

/* The entry for an address's page table, or NULL where there is no table for it yet. No table goes away under mmap_lock. */
static pmd_t *table_of(struct mm_struct *mm, unsigned long address)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d = p4d_offset(pgd, address);
	pud_t *pud;
	pmd_t *pmd, entry;

	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud) || pud_bad(*pud))
		return NULL;
	pmd = pmd_offset(pud, address);
	entry = READ_ONCE(*pmd);
	if (pmd_none(entry) || !pmd_present(entry) || pmd_trans_huge(entry) || pmd_bad(entry))
		return NULL;
	return pmd;
}

/* handle_mm_fault() and filemap_map_pages() themselves: what is called by these doesn't come here again. */
static vm_fault_t (*handle_fault)(struct vm_area_struct *vma, unsigned long address, unsigned int flags, struct pt_regs *regs);
static vm_fault_t (*map_pages)(struct vm_fault *fault, pgoff_t first, pgoff_t last);

/* A page of a process by a name that is the same each time its program runs, wherever its parts were put this time. */
struct page_name {
	enum { kImage, kHeap, kStack, kMapped } part;
	unsigned long page;
};

static struct page_name name_of(const struct mm_struct *mm, unsigned long page)
{
	const unsigned long number = page >> PAGE_SHIFT;

	if (page < mm->start_brk && page >= mm->start_code) /* the program's own data */
		return (struct page_name){ kImage, number - (mm->start_code >> PAGE_SHIFT) };
	if (page < mm->brk && page >= mm->start_brk)
		return (struct page_name){ kHeap, number - (mm->start_brk >> PAGE_SHIFT) };
	if (page <= mm->start_stack && page + (CALLGATE_NEIGHBOURS / 2 << PAGE_SHIFT) > mm->start_stack)
		return (struct page_name){ kStack, number + CALLGATE_NEIGHBOURS - 1 - (mm->start_stack >> PAGE_SHIFT) };
	/* Libraries' data: they are put there one below the other. */
	return (struct page_name){ kMapped, number - (mm->mmap_base >> PAGE_SHIFT) };
}

/* What a write finds at an entry: a page that a fork() left to two, or none of the process's own. */
static enum callgate_use use_of(pte_t entry)
{
	return pte_present(entry) && pfn_valid(pte_pfn(entry)) && PageAnon(pfn_to_page(pte_pfn(entry))) ? CALLGATE_COPIES : CALLGATE_WRITES;
}

/* Whether a write of that kind would bring a page there. Not where one was swapped out. */
static bool waits(pte_t entry, enum callgate_use use)
{
	if (pte_none(entry))
		return use == CALLGATE_WRITES;
	return pte_present(entry) && !pte_write(entry) && !pte_protnone(entry) && use_of(entry) == use;
}

static bool bring(struct vm_area_struct *vma, unsigned long page)
{
	return !(handle_fault(vma, page, FAULT_FLAG_WRITE, NULL) & VM_FAULT_ERROR);
}

/* Pages that a fault brings ahead if it goes on where the last one ended. */
static uint next_pages(unsigned long page)
{
	return this_cpu_read(last_run.next) == page ? min(2 * this_cpu_read(last_run.pages) + 1, prefault) : 0;
}

/* So many of the pages behind that one, or as many as END lets there be. */
static void bring_next(struct vm_area_struct *vma, unsigned long page, pmd_t *table, uint pages, unsigned long end)
{
	pte_t *const entry = table ? pte_offset_kernel(table, page) : NULL;
	uint n;

	pages = entry ? min_t(unsigned long, pages, (end - page) / PAGE_SIZE - 1) : 0;
	n = pages;
	if (pages && !callgate_fresh_pages(vma, page + PAGE_SIZE, table, entry + 1, &n))
		for (n = 0; n < pages; n++)
			if (pte_none(READ_ONCE(entry[n + 1])) && !bring(vma, page + (n + 1) * PAGE_SIZE))
				break;
	/* Where there wasn't memory for all of them the run goes on behind those that came. */
	this_cpu_write(last_run.next, page + (n + 1) * PAGE_SIZE);
	this_cpu_write(last_run.pages, n);
}

/* Those around it, in the same page table, that the program writes, too. */
static void bring_known(struct vm_area_struct *vma, unsigned long page, const pte_t *entry)
{
	const enum callgate_use use = entry ? use_of(READ_ONCE(*entry)) : CALLGATE_WRITES;
	const struct page_name name = name_of(vma->vm_mm, page);
	const unsigned long own = name.page % CALLGATE_NEIGHBOURS;
	DECLARE_BITMAP(known, CALLGATE_NEIGHBOURS);
	unsigned long n;

	if (!vma->vm_mm->start_code || !callgate_working_set(use, name.part, name.page, known))
		return;
	for_each_set_bit(n, known, CALLGATE_NEIGHBOURS) {
		const unsigned long at = page + (n - own) * PAGE_SIZE;

		if (n == own || (at ^ page) & PMD_MASK || (entry && !waits(READ_ONCE(entry[(long)(n - own)]), use)))
			continue;
		if (at < vma->vm_start || at >= vma->vm_end) {
			vma = find_vma(current->mm, at);
			if (!vma)
				return;
			if (at < vma->vm_start || !suits(vma))
				continue;
		}
		if (!bring(vma, at))
			return;
	}
}

/* Before handle_mm_fault(vma, address, flags, ...). Aligned, since it should not lie in two pages: an instruction that does is slow. */
__aligned(1024) static bool before_fault(struct callgate_call_state *call)
{
	struct vm_area_struct *const vma = (void *)call->argument[0];
	const unsigned long page = call->argument[1] & PAGE_MASK, flags = call->argument[2];
	pmd_t *table;
	uint pages = 0;

	if (!(flags & FAULT_FLAG_WRITE) || flags & (FAULT_FLAG_REMOTE | FAULT_FLAG_UNSHARE) || !suits(vma))
		return false;
	table = table_of(vma->vm_mm, page);
	if (prefault && !vma->vm_ops && !(vma->vm_flags & (VM_GROWSDOWN | VM_GROWSUP))) {
		pages = next_pages(page);
		bring_next(vma, page, table, pages, min(vma->vm_end, (page & PMD_MASK) + PMD_SIZE));
	}
	/* What is written from one end to the other is known without. */
	if (working_set && pages < kLongRun)
		bring_known(vma, page, table ? pte_offset_kernel(table, page) : NULL);
	return false;
}

/* Whether another mapping of the same file may have its pages, too. */
static bool maps(const struct vm_area_struct *vma, const struct address_space *mapping)
{
	return vma->vm_file && vma->vm_file->f_mapping == mapping && vma->vm_ops && vma->vm_ops->map_pages == filemap_map_pages &&
	       vma->vm_flags & (VM_READ | VM_EXEC) && !userfaultfd_armed((struct vm_area_struct *)vma);
}

/*
 * Before filemap_map_pages(fault, first, last), which is to map these pages of a file, those around the one that was not there. Maps the
 * known ones instead, run by run, wherever the page table has them mapped, and leaves the run with the page itself to the function.
 */
__aligned(1024) static bool before_map(struct callgate_call_state *call)
{
	struct vm_fault *const fault = (void *)call->argument[0];
	struct mm_struct *const mm = fault->vma->vm_mm;
	struct address_space *const mapping = fault->vma->vm_file->f_mapping;
	const pgoff_t window = round_down(fault->pgoff, CALLGATE_NEIGHBOURS);
	const unsigned long table = fault->address & PMD_MASK;
	DECLARE_BITMAP(known, CALLGATE_NEIGHBOURS);
	struct vm_area_struct *vma;

	if (mm != current->mm || !callgate_working_set(CALLGATE_READS, (uintptr_t)mapping, fault->pgoff, known))
		return false;
	for (vma = find_vma(mm, table); vma && vma->vm_start < table + PMD_SIZE; vma = find_vma(mm, vma->vm_end)) {
		struct vm_fault one = {
			.vma = vma,
			.gfp_mask = fault->gfp_mask,
			.flags = fault->flags,
			.pmd = fault->pmd,
			.pud = fault->pud,
			.orig_pte = fault->orig_pte,
		};
		/* Its pages in this page table, and of these the ones in the window. */
		const unsigned long low = max(vma->vm_start, table), high = min(vma->vm_end, table + PMD_SIZE);
		const pgoff_t begin = vma->vm_pgoff + ((low - vma->vm_start) >> PAGE_SHIFT), end = begin + ((high - low) >> PAGE_SHIFT);
		unsigned long from = begin > window ? begin - window : 0, to;

		if (!maps(vma, mapping))
			continue;
		while (from < CALLGATE_NEIGHBOURS) {
			from = find_next_bit(known, CALLGATE_NEIGHBOURS, from);
			to = min(find_next_zero_bit(known, CALLGATE_NEIGHBOURS, from), (unsigned long)(end > window ? end - window : 0));
			if (from >= to)
				break;
			if (vma == fault->vma && fault->pgoff - window >= from && fault->pgoff - window < to) {
				call->argument[1] = window + from;
				call->argument[2] = window + to - 1;
			} else {
				one.prealloc_pte = fault->prealloc_pte;
				map_pages(&one, window + from, window + to - 1);
				fault->prealloc_pte = one.prealloc_pte;
			}
			from = to;
		}
	}
	return false;
}

int callgate_prefault_init(void)
{
	if (prefault && callgate_fresh_pages_init())
		pr_warn("callgate: fresh_pages is not used\n");
	if (prefault || working_set) {
		handle_fault = callgate_intercept((unsigned long)handle_mm_fault, before_fault);
		if (!handle_fault)
			return -EOPNOTSUPP;
	}
	if (working_set) {
		map_pages = callgate_intercept((unsigned long)filemap_map_pages, before_map);
		if (!map_pages)
			return -EOPNOTSUPP;
	}
	return 0;
}
