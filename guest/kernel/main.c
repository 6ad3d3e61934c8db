/* Processors, interrupts, the command line: what every part of the kernel stands on. */
#include "kernel.h"

struct cpu cpus[MOST_CPUS];
unsigned cpu_count = 1;
const char *command_line = "";
extern u64 multiboot_info;
static struct {
	u64 low, high;
} idt[256];

#define APIC ((volatile u32 *)0xFEE00000)
void apic_write(u32 offset, u32 value) { APIC[offset / 4] = value; }
u32 apic_read(u32 offset) { return APIC[offset / 4]; }
unsigned this_cpu(void) { return apic_read(0x20) >> 24; }

/* GCC calls these by itself. */
void *memset(void *to, int byte, size_t n)
{
	void *at = to;
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}
void *memcpy(void *to, const void *from, size_t n)
{
	void *at = to;
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n)::"memory");
	return to;
}

static const char *find(const char *name)
{
	for (const char *at = command_line; *at; at++) {
		const char *a = at, *n = name;
		if (at != command_line && at[-1] != ' ')
			continue;
		while (*n && *a == *n)
			a++, n++;
		if (!*n)
			return a;
	}
	return 0;
}
int option(const char *name)
{
	const char *behind = find(name);
	return behind && (*behind == ' ' || !*behind);
}
u64 number_of(const char *name, u64 otherwise)
{
	const char *at = find(name);
	u64 value = 0;
	if (!at || *at != '=')
		return otherwise;
	for (at++; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (u64)(*at - '0');
	return value;
}

void uart_write(const char *bytes, u64 count)
{
	for (u64 n = 0; n < count; n++) {
		while (!(inb(0x3FD) & 0x20))
			pause();
		outb(0x3F8, (u8)bytes[n]);
	}
}
static u64 length(const char *text)
{
	u64 n = 0;
	while (text[n])
		n++;
	return n;
}
/* By the way that the run is about. */
void print(const char *text)
{
	if (!by_port() || callgate_console_write(text, length(text)) != CALLGATE_OK)
		uart_write(text, length(text));
}
static void print_hex(u64 value)
{
	char text[17];
	for (int n = 0; n < 16; n++)
		text[n] = "0123456789abcdef"[value >> (60 - 4 * n) & 15];
	text[16] = 0;
	print(text);
}
void print_number(const char *name, u64 value)
{
	print(name);
	print(" ");
	print_hex(value);
	print("\n");
}

/* Exit status 33 is good, as port F4h has it: (16 << 1) | 1. */
void stop(unsigned good)
{
	if (by_port())
		callgate_exit(good ? 33 : 35);
	outl(0xF4, good ? 16 : 17);
	for (;;)
		__asm__ volatile("cli; hlt");
}
void fail(const char *what, u64 value)
{
	uart_write("FAILED: ", 8);
	uart_write(what, length(what));
	uart_write(" ", 1);
	char text[17];
	for (int n = 0; n < 16; n++)
		text[n] = "0123456789abcdef"[value >> (60 - 4 * n) & 15];
	uart_write(text, 16);
	uart_write("\n", 1);
	outl(0xF4, 17);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void send_ipi(unsigned cpu, u8 vector)
{
	apic_write(0x310, cpu << 24);
	apic_write(0x300, vector);
}

static void eoi(void)
{
	if (!eoi_by_port || callgate_call(CALLGATE_EOI, 0, 0, 0, 0, 0) != CALLGATE_OK)
		apic_write(0xB0, 0);
}

/* What the LLDT interrupt does on each processor: the native way of LOAD_LDT. */
static void install_ldt(struct cpu *c)
{
	u64 base = lldt_base, limit = lldt_size - 1;
	if (lldt_size) {
		c->gdt[LDT_SELECTOR / 8] = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | 0x82ull << 40 | (base >> 24 & 0xFF) << 56;
		c->gdt[LDT_SELECTOR / 8 + 1] = base >> 32;
	}
	__asm__ volatile("lldt %w0" ::"r"(lldt_size ? LDT_SELECTOR : 0));
	c->ldts++;
}
static void report(struct cpu *c)
{
	u64 selector = 0, limit = 0;
	__asm__ volatile("sldt %0" : "=r"(selector));
	__asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"((u64)(0 << 3 | 7))); /* entry 0 of the LDT, ring 3 */
	c->ldt_selector = selector;
	c->ldt_limit = limit;
	c->seen = *(volatile u64 *)0x40000000;
	c->reports++;
}

void interrupt(struct frame *f)
{
	struct cpu *c = &cpus[this_cpu()];
	if (f->vector < 32) {
		c->fault = (u32)f->vector;
		if (!c->fixup) {
			print_number("fault", f->vector);
			print_number("error", f->error);
			fail("an exception at", f->rip);
		}
		f->rip = c->fixup;
		c->fixup = 0;
		return;
	}
	switch (f->vector) {
	case VECTOR_LLDT: install_ldt(c); break;
	case VECTOR_REPORT: report(c); break;
	case VECTOR_FLUSH: __asm__ volatile("invlpg 0x40000000" ::: "memory"); c->flushes++; break;
	case VECTOR_PING: c->pings++; break;
	case VECTOR_TIMER: c->timers++; break;
	case VECTOR_CONSOLE: c->console_interrupts++; break;
	case VECTOR_USER:
		f->rip = (u64)user_done;
		f->cs = CODE64;
		f->ss = DATA;
		f->flags = 2;
		return;
	default: fail("an unexpected interrupt", f->vector);
	}
	eoi();
}

void load_tables(unsigned index)
{
	struct cpu *c = &cpus[index];
	static const u64 kGdt[6] = {0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF, 0x00AFFB000000FFFF, 0x00CFF3000000FFFF};
	for (int n = 0; n < 6; n++)
		c->gdt[n] = kGdt[n];
	c->gdt[4] = kGdt[4];
	u64 base = (u64)&c->tss, limit = sizeof c->tss - 1;
	c->gdt[TSS_SELECTOR / 8] = limit | (base & 0xFFFFFF) << 16 | 0x89ull << 40 | (base >> 24 & 0xFF) << 56;
	c->gdt[TSS_SELECTOR / 8 + 1] = base >> 32;
	c->tss.rsp0 = (u64)(c->stack + 8192);
	c->tss.io_map = sizeof c->tss;
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) gdtr = {sizeof c->gdt - 1, (u64)c->gdt}, idtr = {sizeof idt - 1, (u64)idt};
	__asm__ volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdtr), "m"(idtr), "r"(TSS_SELECTOR));
	apic_write(0xF0, 0x1FF);
}

void other_main(void)
{
	unsigned me = this_cpu();
	struct cpu *c = &cpus[me];
	load_tables(me);
	c->started = 1;
	for (;;) {
		/* By the port it waits with HALT_UNTIL, which KICK ends. */
		if (c->wait_for_kick == 1) {
			__asm__ volatile("cli");
			c->wait_for_kick = 2;
			callgate_call(CALLGATE_HALT_UNTIL, (uintptr_t)-1, CALLGATE_HALT_ENABLE, 0, 0, 0);
			c->kicked++;
			c->wait_for_kick = 0;
		}
		__asm__ volatile("sti; hlt" ::: "memory");
	}
}

void start_others(void)
{
	memcpy((void *)0x8000, trampoline, (size_t)(trampoline_end - trampoline));
	for (unsigned n = 1; n < cpu_count; n++) {
		other_stack = (u64)(cpus[n].stack + sizeof cpus[n].stack);
		apic_write(0x310, n << 24);
		apic_write(0x300, 0x4500); /* INIT */
		for (u64 until = rdtsc() + 100000; rdtsc() < until;)
			pause();
		apic_write(0x310, n << 24);
		apic_write(0x300, 0x4608); /* start at 0x8000 */
		while (!cpus[n].started)
			pause();
	}
}

void kernel_main(void)
{
	const u32 *info = (const u32 *)multiboot_info;
	if (info[0] & 4)
		command_line = (const char *)(u64)info[4];
	for (int n = 0; n < 256; n++) {
		u64 at = (u64)interrupt_entries + 16 * (u64)n;
		u64 dpl = n == VECTOR_USER ? 0xEE00 : 0x8E00;
		idt[n].low = (at & 0xFFFF) | (u64)CODE64 << 16 | dpl << 32 | (at >> 16 & 0xFFFF) << 48;
		idt[n].high = at >> 32;
	}
	cpu_count = (unsigned)number_of("cpus", 1);
	if (cpu_count < 1 || cpu_count > MOST_CPUS)
		cpu_count = 1;
	outb(0x21, 0xFF);
	outb(0xA1, 0xFF);
	load_tables(0);
	start_others();
	__asm__ volatile("sti");
	if (option("test=conformance"))
		conformance();
	else if (option("test=target"))
		target();
	else if (option("test=bench"))
		bench();
	else if (option("test=fuzz"))
		fuzz();
	else
		workload();
	stop(1);
}
