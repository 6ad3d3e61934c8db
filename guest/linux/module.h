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

#endif
