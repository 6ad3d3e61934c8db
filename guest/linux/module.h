/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the files of the module share. */
#ifndef CALLGATE_MODULE_H
#define CALLGATE_MODULE_H

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/smp.h>
#include <linux/string.h>

#include "callgate.h"

int callgate_console_init(void);
int callgate_clock_init(void);
int callgate_idle_init(void);
int callgate_ipi_init(void);
int callgate_device_init(void);
int callgate_hooks_init(void);
int callgate_prefault_init(void);
int callgate_sched_init(void);
int callgate_layout_init(void);
int callgate_ldt_init(void);
int callgate_intercept_init(void);

/* Where a symbol of the kernel's is, exported or not; 0: it has none of that name. */
unsigned long callgate_symbol(const char *name);

/* A call of a function of the kernel's: its first arguments, which a handler may change, and what it returns if the handler says so. */
struct callgate_call_state {
	unsigned long argument[4];
	unsigned long result;
};

/*
 * Has HANDLER called before a function of the kernel's. True: the function is not executed. Gives the function without that, for calls
 * from the handler; NULL: it can't be intercepted. In effect from callgate_intercept_init() on.
 */
typedef bool (*callgate_handler)(struct callgate_call_state *call);
void *callgate_intercept(unsigned long function, callgate_handler handler);

#endif
