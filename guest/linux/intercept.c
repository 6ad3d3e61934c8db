// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What is done before a function of the kernel's, or instead of it: ftrace calls callgate_intercept_entry() at its entry. All functions
 * at once, since each change of what ftrace calls looks at every function that there is.
 */
#include <linux/ftrace.h>
#include <linux/linkage.h>
#include <linux/objtool.h>

#include "module.h"

enum { kMost = 8 };

static struct {
	unsigned long function, behind; /* the call's return address */
	callgate_handler handler;
} wanted[kMost];
static unsigned int number;

/* Behind the place for a call that a function begins with, behind ENDBR64 if it has one; 0: there is no such place. */
static unsigned long behind_call(unsigned long function)
{
	static const u8 endbr64[] = {0xF3, 0x0F, 0x1E, 0xFA}, nop5[] = {0x0F, 0x1F, 0x44, 0x00, 0x00};
	const u8 *at = (const u8 *)function;

	if (!function)
		return 0;
	if (!memcmp(at, endbr64, sizeof(endbr64)))
		at += sizeof(endbr64);
	return memcmp(at, nop5, sizeof(nop5)) ? 0 : (unsigned long)at + sizeof(nop5);
}

void *callgate_intercept(unsigned long function, callgate_handler handler)
{
	const unsigned long behind = behind_call(function);

	if (!behind || number == kMost)
		return NULL;
	wanted[number].function = function;
	wanted[number].behind = behind;
	wanted[number++].handler = handler;
	return (void *)behind;
}

/* Aligned, since it should not lie in two pages: an instruction that does is slow. */
__used __aligned(256) static bool callgate_intercepted(struct callgate_call_state *call, unsigned long behind)
{
	unsigned int i;

	for (i = 0; i < number; i++)
		if (wanted[i].behind == behind)
			return wanted[i].handler(call);
	return false;
}

/* Keeps the arguments, as the handler left them; goes back to the function's caller with the result if there is one. */
void callgate_intercept_entry(void);
asm(".pushsection .text, \"ax\", @progbits\n"
    ".type callgate_intercept_entry, @function\n"
    ".globl callgate_intercept_entry\n"
    "callgate_intercept_entry:\n"
    "	pushq %rbp\n"
    "	movq %rsp, %rbp\n"
    "	pushq $0\n"
    "	pushq %rcx\n"
    "	pushq %rdx\n"
    "	pushq %rsi\n"
    "	pushq %rdi\n"
    "	movq %rsp, %rdi\n"
    "	movq 8(%rbp), %rsi\n"
    "	call callgate_intercepted\n"
    "	popq %rdi\n"
    "	popq %rsi\n"
    "	popq %rdx\n"
    "	popq %rcx\n"
    "	testb %al, %al\n"
    "	popq %rax\n"
    "	leave\n"
    "	jz 1f\n"
    "	addq $8, %rsp\n"
    "1:\n"
    ASM_RET
    ".size callgate_intercept_entry, .-callgate_intercept_entry\n"
    ".popsection\n");
STACK_FRAME_NON_STANDARD(callgate_intercept_entry);

int callgate_intercept_init(void)
{
	static struct ftrace_ops ops;
	unsigned long functions[kMost];
	unsigned int i;
	int error;

	if (!number)
		return 0;
	for (i = 0; i < number; i++)
		functions[i] = wanted[i].function;
	error = ftrace_set_filter_ips(&ops, functions, number, 0, 0);
	return error ? error : register_ftrace_direct_multi(&ops, (unsigned long)callgate_intercept_entry);
}
