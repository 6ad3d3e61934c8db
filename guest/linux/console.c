// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A terminal on the port, /dev/ttyCG0: whole buffers at once. It is never full, so the terminal layer may hand over 64 KiB at a time instead of
 * the 2 KiB that serial lines get. What is typed comes here instead of to ttyS0 when `input` is set, looked for a hundred times a second while
 * somebody has the terminal open. With printk=1 the kernel's own messages come here, too (they go to the same place as ttyS0's, where they
 * would be seen twice); console=ttyCG0 on the kernel's command line makes it /dev/console.
 */
#include <linux/console.h>
#include <linux/timer.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_flip.h>

#include "module.h"

static bool input, printk;
module_param(input, bool, 0444);
module_param(printk, bool, 0444);

static struct tty_driver *driver;
static struct tty_port port;

static void look_for_input(struct timer_list *timer);
static DEFINE_TIMER(look_timer, look_for_input);
#define LOOK_AGAIN (jiffies + msecs_to_jiffies(10))

static void look_for_input(struct timer_list *timer)
{
	char bytes[64];
	u64 got = 0;

	while (callgate_console_read(bytes, sizeof(bytes), &got) == CALLGATE_OK && got != 0) {
		tty_insert_flip_string(&port, bytes, got);
		tty_flip_buffer_push(&port);
	}
	mod_timer(&look_timer, LOOK_AGAIN);
}

static int port_activate(struct tty_port *p, struct tty_struct *tty)
{
	if (input)
		mod_timer(&look_timer, LOOK_AGAIN);
	return 0;
}
static void port_shutdown(struct tty_port *p) { del_timer_sync(&look_timer); }
static const struct tty_port_operations port_operations = { .activate = port_activate, .shutdown = port_shutdown };

static int terminal_install(struct tty_driver *d, struct tty_struct *tty)
{
	set_bit(TTY_NO_WRITE_SPLIT, &tty->flags);
	return tty_port_install(&port, d, tty);
}
static int terminal_open(struct tty_struct *tty, struct file *file) { return tty_port_open(&port, tty, file); }
static void terminal_close(struct tty_struct *tty, struct file *file) { tty_port_close(&port, tty, file); }
static void terminal_hangup(struct tty_struct *tty) { tty_port_hangup(&port); }
static int terminal_write(struct tty_struct *tty, const unsigned char *from, int count)
{
	return callgate_console_write(from, count) == CALLGATE_OK ? count : -EIO;
}
static unsigned int terminal_room(struct tty_struct *tty) { return CALLGATE_MAX_BYTES; }
static const struct tty_operations terminal = {
	.install = terminal_install,
	.open = terminal_open,
	.close = terminal_close,
	.hangup = terminal_hangup,
	.write = terminal_write,
	.write_room = terminal_room,
};

static void kernel_console_write(struct console *con, const char *text, unsigned int count)
{
	callgate_console_write(text, count);
}
static struct tty_driver *kernel_console_device(struct console *con, int *index)
{
	*index = con->index > 0 ? con->index : 0;
	return driver;
}
static struct console kernel_console = {
	.name = "ttyCG",
	.write = kernel_console_write,
	.device = kernel_console_device,
	.index = -1,
};

int callgate_console_init(void)
{
	int error;

	driver = tty_alloc_driver(1, TTY_DRIVER_REAL_RAW);
	if (IS_ERR(driver))
		return PTR_ERR(driver);
	driver->driver_name = "callgate";
	driver->name = "ttyCG";
	driver->type = TTY_DRIVER_TYPE_SYSTEM;
	driver->init_termios = tty_std_termios;
	tty_set_operations(driver, &terminal);
	tty_port_init(&port);
	port.ops = &port_operations;
	tty_port_link_device(&port, driver, 0);
	error = tty_register_driver(driver);
	if (error) {
		tty_port_destroy(&port);
		tty_driver_kref_put(driver);
		return error;
	}
	if (input)
		callgate_call(CALLGATE_ATTACH, 1, 0, 0, 0, NULL);
	if (printk)
		kernel_console.flags |= CON_ENABLED;
	register_console(&kernel_console); /* without printk=1 it takes part only when the command line names it */
	return 0;
}
