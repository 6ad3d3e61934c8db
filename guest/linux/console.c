// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A terminal on the port, /dev/hvc0, by the kernel's core for hypervisors' consoles: whole buffers at once. What is typed comes
 * here instead of to ttyS0 when `input` is set. The kernel's own messages come here, too, with printk=1 (they go to the same place as
 * ttyS0's, where they would be seen twice).
 */
#include <linux/console.h>

#include "module.h"

static bool input, printk;
module_param(input, bool, 0444);
module_param(printk, bool, 0444);

/* drivers/tty/hvc/hvc_console.h of 6.1, which is not among the headers that Debian has for modules. */
struct hvc_struct;
struct hv_ops {
	int (*get_chars)(uint32_t number, char *to, int count);
	int (*put_chars)(uint32_t number, const char *from, int count);
	int (*flush)(uint32_t number, bool wait);
	int (*notifier_add)(struct hvc_struct *hp, int irq);
	void (*notifier_del)(struct hvc_struct *hp, int irq);
	void (*notifier_hangup)(struct hvc_struct *hp, int irq);
	int (*tiocmget)(struct hvc_struct *hp);
	int (*tiocmset)(struct hvc_struct *hp, unsigned int set, unsigned int clear);
	void (*dtr_rts)(struct hvc_struct *hp, int raise);
};
struct hvc_struct *hvc_alloc(uint32_t number, int irq, const struct hv_ops *ops, int buffer);

#define VTERM 0x4347
#define BUFFER 4096

static int get_chars(uint32_t number, char *to, int count)
{
	u64 got = 0;

	callgate_console_read(to, count, &got);
	return (int)got;
}
static int put_chars(uint32_t number, const char *from, int count)
{
	return callgate_console_write(from, count) == CALLGATE_OK ? count : -EIO;
}
static const struct hv_ops operations = { .get_chars = get_chars, .put_chars = put_chars };

static void callgate_write(struct console *con, const char *text, unsigned int count)
{
	callgate_console_write(text, count);
}
static struct console callgate_console = {
	.name = "callgate",
	.write = callgate_write,
	.flags = CON_ENABLED,
	.index = -1,
};

int callgate_console_init(void)
{
	struct hvc_struct *terminal = hvc_alloc(VTERM, 0, &operations, BUFFER);

	if (IS_ERR(terminal))
		return PTR_ERR(terminal);
	if (input)
		callgate_call(CALLGATE_ATTACH, 1, 0, 0, 0, NULL);
	if (printk)
		register_console(&callgate_console);
	return 0;
}
