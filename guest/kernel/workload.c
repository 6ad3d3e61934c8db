/*
 * Everything that the port does, natively or by the port as `way` says, with one result: a digest of what memory, tables and
 * registers hold behind it. The times at which things happen differ, so none of them is in it.
 */
#include "kernel.h"

int eoi_by_port;
volatile u64 lldt_base, lldt_size;

static u64 digest = 0x9E3779B97F4A7C15ull, chance = 88172645463325252ull;
static int way = -1; /* 0 native, 1 port, 2 mixed */

static void mix(u64 value)
{
	digest = (digest ^ value) * 0xD6E8FEB86659FD93ull;
	digest ^= digest >> 32;
}
int by_port(void)
{
	if (way < 0)
		way = option("way=port") ? 1 : option("way=mixed") ? 2 : 0;
	if (way < 2)
		return way;
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return chance >> 40 & 1;
}
static void ok(const char *what, u32 status)
{
	if (status != CALLGATE_OK)
		fail(what, status);
}
static u64 all_cpus(void) { return (1ull << cpu_count) - 1; }

/* Has every processor tell what it sees, and mixes that. */
static void report_all(void)
{
	for (unsigned n = 0; n < cpu_count; n++) {
		u32 before = cpus[n].reports;
		if (by_port())
			ok("ipi", callgate_call(CALLGATE_IPI, VECTOR_REPORT, 1ull << n, 0, 0, 0));
		else
			send_ipi(n, VECTOR_REPORT);
		while (cpus[n].reports == before)
			pause();
		mix(cpus[n].ldt_selector);
		mix(cpus[n].ldt_limit);
		mix(cpus[n].seen);
	}
}

static u64 ldt[16] __attribute__((aligned(16)));

static void descriptors(void)
{
	static const u64 entries[3] = {0x00CFF3000000FFFF, 0x0040F30000001234, 0x0000FB0000000FFF};
	for (unsigned round = 0; round < 4; round++) {
		/* An LDT for all processors. */
		u64 size = round == 3 ? 0 : sizeof ldt - 8 * round;
		if (by_port()) {
			ok("load_ldt", callgate_call6(CALLGATE_LOAD_LDT, LDT_SELECTOR, (u64)ldt, size, all_cpus(), 0, 0, 0));
		} else {
			lldt_base = (u64)ldt;
			lldt_size = size;
			for (unsigned n = 0; n < cpu_count; n++) {
				u32 before = cpus[n].ldts;
				send_ipi(n, VECTOR_LLDT);
				while (cpus[n].ldts == before)
					pause();
			}
		}
		/* Its entries. */
		u64 entry = entries[round % 3] + round;
		if (size == 0 || !by_port())
			*(volatile u64 *)&ldt[0] = entry;
		else
			ok("write_descriptors", callgate_call(CALLGATE_WRITE_DESCRIPTORS, 1, 0, (uintptr_t)&entry, 1, 0));
		report_all();
		/* TLS. */
		for (unsigned n = 0; n < 3; n++)
			cpus[0].gdt[TLS_FIRST + n] = 0;
		if (by_port()) {
			ok("load_tls", callgate_call(CALLGATE_LOAD_TLS, TLS_FIRST, entries[0], entries[1], entries[2] + round, 0));
		} else {
			volatile u64 *gdt = cpus[0].gdt;
			gdt[TLS_FIRST] = entries[0], gdt[TLS_FIRST + 1] = entries[1], gdt[TLS_FIRST + 2] = entries[2] + round;
		}
		u64 limit = 0;
		__asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"((u64)((TLS_FIRST + 1) << 3)));
		mix(limit);
		mix(cpus[0].gdt[TLS_FIRST + 2]);
		/* The stack of ring 0. */
		u64 sp0 = (u64)cpus[0].stack + 4096 + 16 * round;
		if (by_port())
			ok("set_sp0", callgate_call(CALLGATE_SET_SP0, sp0, 0, 0, 0, 0));
		else
			*(volatile u64 *)&cpus[0].tss.rsp0 = sp0;
		mix(cpus[0].tss.rsp0 == sp0);
	}
}

/* A second set of page tables, in which 1 GiB is another page. */
static u64 tables_b[512] __attribute__((aligned(4096))), directory_pointers_b[512] __attribute__((aligned(4096))),
	directory_b[512] __attribute__((aligned(4096))), table_b[512] __attribute__((aligned(4096))),
	table_a[512] __attribute__((aligned(4096)));
static u64 frames[3][512] __attribute__((aligned(4096)));

static void map_test_page(u64 *table, u64 *frame) { *(volatile u64 *)&table[0] = (u64)frame | 7; }

static void address_spaces(void)
{
	u64 *root = (u64 *)page_tables, *pointers = root + 512, *directory1 = root + 1024 + 512;
	for (unsigned n = 0; n < 512; n++) {
		tables_b[n] = root[n];
		directory_pointers_b[n] = pointers[n];
		directory_b[n] = directory1[n];
	}
	tables_b[0] = (u64)directory_pointers_b | 7;
	directory_pointers_b[1] = (u64)directory_b | 7;
	directory_b[0] = (u64)table_b | 7;
	directory1[0] = (u64)table_a | 7;
	for (unsigned n = 0; n < 3; n++)
		frames[n][0] = 0x1000 + n;
	map_test_page(table_a, frames[0]);
	map_test_page(table_b, frames[1]);
	write_cr3(read_cr3());
	u64 a = read_cr3(), b = (u64)tables_b;
	for (unsigned round = 0; round < 6; round++) {
		u64 to = round & 1 ? a : b;
		u64 sp0 = (u64)cpus[0].stack + 8192 - 16 * round;
		if (by_port()) {
			ok("switch_mm", callgate_call(CALLGATE_SWITCH_MM, to, CALLGATE_SWITCH_LDT | CALLGATE_SWITCH_SP0, 0, sp0, 0));
		} else {
			write_cr3(to);
			__asm__ volatile("lldt %w0" ::"r"(0));
			*(volatile u64 *)&cpus[0].tss.rsp0 = sp0;
		}
		mix(*(volatile u64 *)0x40000000);
		mix(cpus[0].tss.rsp0 == sp0);
	}
	write_cr3(a);
	/* A page that becomes another one, for all processors. */
	for (unsigned round = 0; round < 4; round++) {
		map_test_page(table_a, frames[round & 1 ? 2 : 0]);
		if (by_port()) {
			ok("flush_tlb", callgate_call(CALLGATE_FLUSH_TLB, 0x40000000, 1, all_cpus(), 0, 0));
		} else {
			for (unsigned n = 0; n < cpu_count; n++) {
				u32 before = cpus[n].flushes;
				send_ipi(n, VECTOR_FLUSH);
				while (cpus[n].flushes == before)
					pause();
			}
		}
		report_all();
	}
}

static void registers(void)
{
	static const u32 indices[] = {0xC0000102, 0xC0000103, 0xC0000082, 0x176};
	static const u64 values[] = {0xFFFF888000001000, 5, 0xFFFFFFFF81000000, 0xFFFFFFFF81234560};
	struct callgate_msr batch[8];
	if (by_port()) {
		for (unsigned n = 0; n < 4; n++) {
			batch[n] = (struct callgate_msr){indices[n], 1, values[n]};
			batch[4 + n] = (struct callgate_msr){indices[n], 0, 0};
		}
		ok("msr_batch", callgate_call(CALLGATE_MSR_BATCH, (uintptr_t)batch, 8, 0, 0, 0));
	} else {
		for (unsigned n = 0; n < 4; n++)
			wrmsr(indices[n], values[n]);
		for (unsigned n = 0; n < 4; n++)
			batch[4 + n].value = rdmsr(indices[n]);
	}
	for (unsigned n = 0; n < 4; n++)
		mix(batch[4 + n].value), mix(rdmsr(indices[n]));
}

static u64 now(void) { return by_port() ? callgate_now() : rdtsc(); }

static u8 cmos(u8 index)
{
	outb(0x70, index);
	return inb(0x71);
}
static unsigned seconds_of_day(void)
{
	if (by_port()) {
		u64 value = 0;
		ok("wall_clock", callgate_call(CALLGATE_WALL_CLOCK, (uintptr_t)&value, 0, 0, 0, 0));
		return (unsigned)(value / 1000000000 % 86400);
	}
	u8 s = cmos(0), m = cmos(2), h = cmos(4); /* BCD, 24 hours */
	return (unsigned)((h >> 4) * 10 + (h & 15)) * 3600 + (unsigned)((m >> 4) * 10 + (m & 15)) * 60 + (unsigned)((s >> 4) * 10 + (s & 15));
}

static void times(void)
{
	u64 last = now();
	for (unsigned n = 0; n < 20; n++) {
		u64 next = now();
		mix(next >= last && next - last < 10000000);
		last = next;
	}
	unsigned day = seconds_of_day(), again = seconds_of_day();
	mix(again - day < 2);
	for (unsigned n = 0; n < 6; n++) {
		u64 until = now() + 20000 * (n + 1);
		if (by_port())
			ok("skip", callgate_skip(until));
		else
			while (rdtsc() < until)
				pause();
		mix(now() >= until);
		/* An alarm: the TSC deadline, or the port's. */
		u32 before = cpus[0].timers;
		until = now() + 30000;
		if (by_port()) {
			ok("deadline", callgate_call(CALLGATE_DEADLINE, until, VECTOR_TIMER, 0, 0, 0));
		} else {
			apic_write(0x320, 2u << 17 | VECTOR_TIMER);
			__asm__ volatile("mfence" ::: "memory");
			wrmsr(0x6E0, until);
		}
		__asm__ volatile("cli" ::: "memory");
		while (cpus[0].timers == before) {
			if (by_port())
				ok("halt_until", callgate_call(CALLGATE_HALT_UNTIL, CALLGATE_FOREVER, CALLGATE_HALT_ENABLE, 0, 0, 0));
			else
				__asm__ volatile("sti; hlt" ::: "memory");
			__asm__ volatile("cli" ::: "memory");
		}
		__asm__ volatile("sti" ::: "memory");
		mix(cpus[0].timers - before);
		mix(now() >= until);
	}
}

static void wake_others(void)
{
	for (unsigned n = 1; n < cpu_count; n++) {
		u32 before = cpus[n].pings;
		if (by_port()) {
			/* It sleeps by the port, and a kick ends that. */
			u32 kicked = cpus[n].kicked;
			cpus[n].wait_for_kick = 1;
			ok("ipi", callgate_call(CALLGATE_IPI, VECTOR_PING, 1ull << n, 0, 0, 0));
			while (cpus[n].wait_for_kick != 2)
				pause();
			ok("kick", callgate_call(CALLGATE_KICK, 1ull << n, 0, 0, 0, 0));
			while (cpus[n].kicked == kicked)
				pause();
		} else {
			send_ipi(n, VECTOR_PING);
		}
		while (cpus[n].pings == before)
			pause();
		mix(cpus[n].pings - before);
	}
}

#define BIG (300 * 1024)
static u8 from[BIG], to[BIG] __attribute__((aligned(4096)));

static void memory(void)
{
	for (u32 n = 0; n < BIG; n++)
		from[n] = (u8)(n * 7 + (n >> 9));
	static const struct {
		u32 to, from, count;
	} parts[] = {{0, 0, BIG}, {1, 4095, 8194}, {4096, 3, 65537}, {17, 18, 1}, {0, 0, 0}};
	for (unsigned n = 0; n < sizeof parts / sizeof parts[0]; n++) {
		if (by_port()) {
			ok("copy", callgate_copy(to + parts[n].to, from + parts[n].from, parts[n].count));
		} else {
			void *d = to + parts[n].to;
			const void *s = from + parts[n].from;
			u64 count = parts[n].count;
			__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(count)::"memory");
		}
		u32 crc = 0;
		if (by_port()) {
			ok("checksum", callgate_checksum(to, BIG, 0xFFFFFFFF, &crc));
		} else {
			crc = 0xFFFFFFFF;
			for (u32 i = 0; i < BIG; i++)
				__asm__("crc32b %1, %0" : "+r"(crc) : "rm"(to[i]));
		}
		mix(crc);
		u32 at = 100 * n, count = 70000;
		if (by_port()) {
			ok("fill", callgate_fill(to + at, (u8)n, count));
		} else {
			void *d = to + at;
			u64 left = count;
			__asm__ volatile("rep stosb" : "+D"(d), "+c"(left) : "a"(n) : "memory");
		}
	}
	if (by_port()) {
		u64 done = 0, pages = 30;
		u8 *at = to + 8192;
		u32 status;
		do {
			status = callgate_call(CALLGATE_CLEAR_PAGES, (uintptr_t)at, pages, 0, 0, &done);
			at += done * 4096;
			pages -= done;
		} while (status == CALLGATE_EAGAIN);
		ok("clear_pages", status);
	} else {
		void *d = to + 8192;
		u64 left = 30 * 4096;
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(left) : "a"(0) : "memory");
	}
	for (u32 n = 0; n < BIG; n += 997)
		mix(to[n]);
}

/* Functions of the kernel's own, hooked or not: what they do is the same, also when their bytes change for a while. */
static void functions(void)
{
	static const struct {
		const void *function;
		const u8 *end;
		u32 kind;
	} all[] = {{clear_page, clear_page_end, CALLGATE_CLEAR_PAGE_FUNCTION}, {copy_page, copy_page_end, CALLGATE_COPY_PAGE_FUNCTION},
	           {copy_bytes, copy_bytes_end, CALLGATE_MEMCPY_FUNCTION}, {fill_bytes, fill_bytes_end, CALLGATE_MEMSET_FUNCTION},
	           {wait_ticks, wait_ticks_end, CALLGATE_DELAY_FUNCTION}};
	u64 slot[5];
	for (unsigned n = 0; n < 5; n++) {
		slot[n] = CALLGATE_HOOK_ALL;
		if (by_port())
			ok("hook", callgate_hook(all[n].function, all[n].kind, (uintptr_t)(all[n].end - (const u8 *)all[n].function), 0, 0, &slot[n]));
	}
	for (unsigned round = 0; round < 6; round++) {
		volatile u8 *last = (volatile u8 *)((u64)clear_page_end - 2); /* REP STOSB becomes REP STOSD, and back */
		u64 before = rdtsc();
		memset(from, (int)round + 1, 20000);
		fill_bytes(from + 4096 - round, (int)(round * 3), 5 + 4000 * round);
		copy_bytes(to + 4096 * 9 + 1, from + 100 * round, 6000 + round);
		copy_page(to + 4096 * 3, to + 4096 * 9);
		copy_bytes(to + 17, to + 4096 * 3 + 16, 70000); /* more than one instruction does */
		if (round == 3) {
			*last = 0xAB;
			fill_bytes(to + 4096 * 4, 0x33, 16384);
			clear_page(to + 4096 * 4);
			mix(to[4096 * 7 + 4095]);
			*last = 0xAA;
		}
		clear_page(to + 4096 * round);
		wait_ticks(1000 + 100 * round);
		mix(rdtsc() - before >= 1000 + 100 * round);
		u32 crc = 0;
		for (u32 i = 0; i < 100000; i++)
			__asm__("crc32b %1, %0" : "+r"(crc) : "rm"(to[i]));
		mix(crc);
	}
	for (unsigned n = 0; n < 5; n++)
		if (slot[n] != CALLGATE_HOOK_ALL)
			ok("unhook", callgate_call(CALLGATE_UNHOOK, slot[n], 0, 0, 0, 0));
}

static void console_input(void)
{
	char line[64];
	u64 n = 0;
	if (!option("input"))
		return;
	int port = way == 1;
	if (port)
		ok("attach", callgate_call(CALLGATE_ATTACH, 1, VECTOR_CONSOLE, 0, 0, 0));
	print("your name?\n");
	while (n < sizeof line && (n == 0 || line[n - 1] != '\n')) {
		if (port) {
			u64 got = 0;
			ok("read", callgate_console_read(line + n, 1, &got));
			n += got;
			if (!got)
				ok("skip", callgate_skip(callgate_now() + 50000));
		} else if (inb(0x3FD) & 1) {
			line[n++] = (char)inb(0x3F8);
		} else {
			pause();
		}
	}
	for (u64 i = 0; i < n; i++)
		mix((u8)line[i]);
}

/* What the test gives, up to a line's end. */
static void test_input(void)
{
	char byte = 0;
	u64 got;

	if (!option("testinput"))
		return;
	while (byte != '\n') {
		ok("get_input", callgate_call(CALLGATE_GET_INPUT, (uintptr_t)&byte, 1, 0, 0, &got));
		if (got)
			mix((u8)byte);
		else
			ok("skip", callgate_skip(callgate_now() + 50000));
	}
}

static void ring(void)
{
	static struct {
		struct callgate_ring_header header;
		struct callgate_ring_entry entry[64];
	} r __attribute__((aligned(64)));
	static u64 word[64];
	if (by_port()) {
		for (unsigned n = 0; n < 64; n++)
			r.entry[n] = (struct callgate_ring_entry){CALLGATE_FILL, CALLGATE_PENDING, {(u64)&word[n], n, n % 8 + 1}, 0};
		ok("ring", callgate_call(CALLGATE_RING, (uintptr_t)&r, 64, 0, 0, 0));
		*(volatile u32 *)&r.header.ready = 64;
		ok("doorbell", callgate_call(CALLGATE_DOORBELL, 0, 0, 0, 0, 0));
		ok("ring", callgate_call(CALLGATE_RING, 0, 0, 0, 0, 0));
	} else {
		for (unsigned n = 0; n < 64; n++)
			memset(&word[n], (int)n, n % 8 + 1);
	}
	for (unsigned n = 0; n < 64; n++)
		mix(word[n]);
}


void workload(void)
{
	(void)by_port();
	if (way != 0) {
		u64 granted;
		if (!callgate_present())
			fail("there is no port: --paravirt callgate", 0);
		ok("hello", callgate_hello(CALLGATE_F_ALL, &granted));
	}
	for (unsigned round = 0; round < 3; round++) {
		eoi_by_port = way == 2 ? (int)(round & 1) : way;
		address_spaces();
		descriptors();
		registers();
		times();
		wake_others();
		memory();
		ring();
		functions();
	}
	console_input();
	test_input();
	print_number("result", digest);
}
