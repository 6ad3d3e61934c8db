// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Pages ahead of a page fault. An exception costs an emulated processor as much as a thousand instructions; what the kernel does for
 * one more page costs much less. So where a process writes new pages of anonymous memory one after the other, a fault brings some of the
 * next ones, too: one at first, twice as many each time, up to prefault=N. Read-ahead for memory, as the kernel itself does it for
 * files (fault_around_bytes). Pages that are there, shared, copied on write or watched by userfaultfd are left alone.
 */
#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/userfaultfd_k.h>

#include "module.h"

static uint prefault = 64;
module_param(prefault, uint, 0444);
MODULE_PARM_DESC(prefault, "most pages that a page fault brings ahead of it; 0: none");

/* Where a run of faults is to go on, if it does. A guess: that of another process's does no harm. */
struct run {
	unsigned long next;
	uint pages;
};
static DEFINE_PER_CPU(struct run, last_run);

static bool suits(struct vm_area_struct *vma, unsigned int flags)
{
	const unsigned int wanted = FAULT_FLAG_USER | FAULT_FLAG_WRITE;

	return (flags & wanted) == wanted && !vma->vm_ops && vma->vm_mm == current->mm && !userfaultfd_armed(vma) &&
	       !(vma->vm_flags & (VM_SHARED | VM_PFNMAP | VM_LOCKED | VM_GROWSDOWN | VM_GROWSUP));
}

/* The page table's entry of an address, or NULL where there is no table for it yet. No table goes away under mmap_lock. */
static pte_t *entry_of(struct mm_struct *mm, unsigned long address)
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
	return pte_offset_kernel(pmd, address);
}

/* handle_mm_fault() behind the call that ftrace has put at its entry: what is called from here doesn't come back here. */
static vm_fault_t (*handle_fault)(struct vm_area_struct *vma, unsigned long address, unsigned int flags, struct pt_regs *regs) =
	handle_mm_fault;

static void find_handler(void)
{
	static const u8 endbr64[] = {0xF3, 0x0F, 0x1E, 0xFA}, nop5[] = {0x0F, 0x1F, 0x44, 0x00, 0x00};
	const u8 *at = (const u8 *)handle_mm_fault;

	if (!memcmp(at, endbr64, sizeof(endbr64)))
		at += sizeof(endbr64);
	if (!memcmp(at, nop5, sizeof(nop5)))
		handle_fault = (void *)(at + sizeof(nop5));
}

/*
 * Before handle_mm_fault(), which it calls for other pages without FAULT_FLAG_USER and without leave to give up the lock. Aligned,
 * since it should not lie in two pages: an instruction that does is slow.
 */
__used __aligned(1024) static void callgate_before_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags)
{
	unsigned long page = address & PAGE_MASK, end;
	pte_t *entry = NULL;
	uint n, pages = 0;

	if (!suits(vma, flags))
		return;
	if (this_cpu_read(last_run.next) == page) {
		pages = min(2 * this_cpu_read(last_run.pages) + 1, prefault);
		entry = entry_of(vma->vm_mm, page);
	}
	end = min(vma->vm_end, (page & PMD_MASK) + PMD_SIZE);
	for (n = 1; entry && n <= pages && page + n * PAGE_SIZE < end; n++) {
		/* Nothing is there yet, not even a page that was swapped out. */
		if (!pte_none(READ_ONCE(entry[n])) ||
		    (handle_fault(vma, page + n * PAGE_SIZE, FAULT_FLAG_WRITE, NULL) & VM_FAULT_ERROR))
			break;
	}
	this_cpu_write(last_run.next, page + n * PAGE_SIZE);
	this_cpu_write(last_run.pages, n - 1);
}

/* What ftrace calls at the function's entry: keeps its arguments. */
void callgate_fault_entry(void);
asm(".pushsection .text, \"ax\", @progbits\n"
    ".type callgate_fault_entry, @function\n"
    ".globl callgate_fault_entry\n"
    "callgate_fault_entry:\n"
    "	pushq %rbp\n"
    "	movq %rsp, %rbp\n"
    "	pushq %rdi\n"
    "	pushq %rsi\n"
    "	pushq %rdx\n"
    "	pushq %rcx\n"
    "	call callgate_before_fault\n"
    "	popq %rcx\n"
    "	popq %rdx\n"
    "	popq %rsi\n"
    "	popq %rdi\n"
    "	leave\n"
    ASM_RET
    ".size callgate_fault_entry, .-callgate_fault_entry\n"
    ".popsection\n");

int callgate_prefault_init(void)
{
	if (!prefault)
		return 0;
	find_handler();
	return register_ftrace_direct((unsigned long)handle_mm_fault, (unsigned long)callgate_fault_entry);
}
