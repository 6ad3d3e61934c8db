// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Many new pages of anonymous memory at once. handle_mm_fault() for each is the whole way to its entry, its own search for memory and its
 * own lock; all of them together share these. What remains for each is what do_anonymous_page() does: a cleared page, its cgroup's account,
 * its place in the reverse map and in the list of pages to reclaim, and the entry.
 */
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pgtable.h>
#include <linux/rmap.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "fresh_pages.h"
#include "module.h"

/* So few that an interrupt doesn't wait for long: pages are cleared while it is held off. */
enum { kAtOnce = 16 };

/* Nothing is reclaimed for them, and nobody killed: the fault itself will do that, if it has to. */
static const gfp_t kHowEager = (GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM) | __GFP_ZERO | __GFP_NORETRY | __GFP_NOWARN;

static int (*charge)(struct folio *folio, struct mm_struct *mm, gfp_t gfp);
static void (*add_to_reverse_map)(struct page *page, struct vm_area_struct *vma, unsigned long address);

int callgate_fresh_pages_init(void)
{
	charge = (void *)callgate_symbol("__mem_cgroup_charge");
	add_to_reverse_map = (void *)callgate_symbol("page_add_new_anon_rmap");
	return charge && add_to_reverse_map ? 0 : -ENOENT;
}

/* Memory on other nodes than this one's is for those who know how to ask for it. */
static bool has_policy(const struct vm_area_struct *vma)
{
#ifdef CONFIG_NUMA
	return vma_policy(vma) || current->mempolicy;
#else
	return false;
#endif
}

/* What a fault says of its memory: it was used just now (lru_gen_enter_fault()). */
static void in_fault(const struct vm_area_struct *vma, bool begins)
{
#ifdef CONFIG_LRU_GEN
	current->in_lru_fault = begins && !(vma->vm_flags & (VM_SEQ_READ | VM_RAND_READ));
#endif
}

/* Pages that have an owner to pay for them; the others go back. */
static unsigned int charged(struct vm_area_struct *vma, struct page **pages, unsigned int count)
{
	unsigned int n, paid = 0;

	for (n = 0; n < count; n++) {
		if (paid < n || (!mem_cgroup_disabled() && charge(page_folio(pages[n]), vma->vm_mm, kHowEager))) {
			put_page(pages[n]);
			continue;
		}
		__SetPageUptodate(pages[n]);
		paid++;
	}
	return paid;
}

/* Those of COUNT entries that are empty get a page, from the first one on, as long as there are AVAILABLE ones. So many are used; REACHED
 * entries have one now. */
static unsigned int map(struct vm_area_struct *vma, unsigned long address, pte_t *entry, unsigned int count, struct page **pages,
			unsigned int available, unsigned int *reached)
{
	unsigned int n, used = 0;

	for (n = 0; n < count; n++, address += PAGE_SIZE) {
		pte_t value;

		if (!pte_none(entry[n]))
			continue;
		if (used == available)
			break;
		add_to_reverse_map(pages[used], vma, address);
		folio_add_lru(page_folio(pages[used]));
		value = pte_sw_mkyoung(mk_pte(pages[used++], vma->vm_page_prot));
		set_pte_at(vma->vm_mm, address, entry + n, pte_mkwrite(pte_mkdirty(value)));
	}
	*reached = n;
	return used;
}

/* How many from the first one on are there then. */
static unsigned int bring_some(struct vm_area_struct *vma, unsigned long address, pmd_t *pmd, pte_t *entry, unsigned int count)
{
	struct mm_struct *const mm = vma->vm_mm;
	struct page *pages[kAtOnce] = {};
	unsigned int n, want = 0, have, used = 0, reached = 0;
	spinlock_t *lock;

	for (n = 0; n < count; n++)
		want += pte_none(READ_ONCE(entry[n]));
	if (!want)
		return count;
	have = charged(vma, pages, alloc_pages_bulk_array(kHowEager, want, pages));
	lock = pte_lockptr(mm, pmd);
	in_fault(vma, true);
	spin_lock(lock);
	if (!check_stable_address_space(mm))
		used = map(vma, address, entry, count, pages, have, &reached);
	atomic_long_add(used, &mm->rss_stat.count[MM_ANONPAGES]);
	spin_unlock(lock);
	in_fault(vma, false);
	for (n = used; n < have; n++)
		put_page(pages[n]);
	return reached;
}

bool callgate_fresh_pages(struct vm_area_struct *vma, unsigned long address, pmd_t *pmd, pte_t *entry, unsigned int *count)
{
	unsigned int n, some, there = 0;

	/* The first page of all gets a reverse map for the others. */
	if (!charge || !add_to_reverse_map || !vma->anon_vma || has_policy(vma))
		return false;
	for (n = 0; n < *count && there == n; n += some) {
		some = min_t(unsigned int, *count - n, kAtOnce);
		there += bring_some(vma, address + n * PAGE_SIZE, pmd, entry + n, some);
	}
	*count = there;
	return true;
}
