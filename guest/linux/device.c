// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /dev/callgate, for tests and for root only: a line written is a LOG, what is read is the test's input, and lines that begin with '!'
 * are orders: "!exit N", "!mark N", "!break", "!snapshot SLOT", "!restore SLOT VALUE". Behind a snapshot, the module's parameter `returned`
 * is 0, or the value of the restore that came back there.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "module.h"

#define MOST 1024

static uint returned;
module_param(returned, uint, 0444);

static ssize_t device_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	char *text;
	size_t size = min_t(size_t, count, MOST);
	unsigned int number, value;
	u32 status = CALLGATE_OK;

	text = memdup_user_nul(from, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (sscanf(text, "!exit %u", &number) == 1)
		callgate_exit(number);
	else if (sscanf(text, "!mark %u", &number) == 1)
		callgate_call(CALLGATE_MARK, number, 0, 0, 0, NULL);
	else if (sscanf(text, "!snapshot %u", &number) == 1)
		status = callgate_snapshot(number, &returned);
	else if (sscanf(text, "!restore %u %u", &number, &value) == 2)
		status = callgate_restore(number, value);
	else if (strncmp(text, "!break", 6) == 0)
		callgate_call(CALLGATE_BREAK, 0, 0, 0, 0, NULL);
	else
		callgate_call(CALLGATE_LOG, (uintptr_t)text, strcspn(text, "\n"), 0, 0, NULL);
	kfree(text);
	return status == CALLGATE_OK ? (ssize_t)size : -EINVAL;
}

static ssize_t device_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	u64 got = 0;
	size_t size = min_t(size_t, count, PAGE_SIZE);
	char *bytes = kmalloc(size, GFP_KERNEL);
	ssize_t result;

	if (!bytes)
		return -ENOMEM;
	callgate_call(CALLGATE_GET_INPUT, (uintptr_t)bytes, size, 0, 0, &got);
	result = copy_to_user(to, bytes, got) ? -EFAULT : (ssize_t)got;
	kfree(bytes);
	return result;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.read = device_read,
	.write = device_write,
	.llseek = no_llseek,
};
static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate",
	.fops = &device_operations,
	.mode = 0600,
};

int callgate_device_init(void) { return misc_register(&device); }
