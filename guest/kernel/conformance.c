/* The ABI's conformance test: every call, right and wrong, from inside a guest. Says what was not as written, and fails. */
#include "kernel.h"

static unsigned checks;

void want(const char *what, u32 got, u32 expected)
{
	checks++;
	if (got != expected)
		fail(what, (u64)got << 32 | expected);
}
static u32 plain(u32 number, u64 a, u64 b, u64 c, u64 d) { return callgate_call(number, a, b, c, d, 0); }
static void want_value(const char *what, u32 number, u64 a, u64 b, u64 c, u64 d, u32 status, u64 value)
{
	u64 got = ~0ull;
	want(what, callgate_call(number, a, b, c, d, &got), status);
	checks++;
	if (got != value)
		fail(what, got);
}

/* The DX form, and what must be kept. */
static void registers_are_kept(void)
{
	u64 value = 0x1111222233334444, rax = CALLGATE_PROBE, rcx = 1, rdx = 0xE4, rsi = 3, rdi = 4, flags_before, flags_after;
	register u64 r8 __asm__("r8") = 5;
	register u64 r9 __asm__("r9") = 6;
	__asm__ volatile("stc; pushfq; pop %[before]; in %%dx, %%eax; pushfq; pop %[after]"
	                 : "+a"(rax), "+b"(value), "+c"(rcx), "+d"(rdx), "+S"(rsi), "+D"(rdi), "+r"(r8), "+r"(r9), [before] "=&r"(flags_before),
	                   [after] "=&r"(flags_after)::"memory");
	want("dx form", (u32)rax, CALLGATE_OK);
	want("version", (u32)value, CALLGATE_VERSION);
	want("registers", rcx == 1 && rdx == 0xE4 && rsi == 3 && rdi == 4 && r8 == 5 && r9 == 6, 1);
	want("flags", flags_before == flags_after, 1);
	want("no call of one byte", inb(0xE4), 0xFF);
}

static volatile u32 user_status[8];
static void in_ring3(void)
{
	user_status[0] = callgate_call(CALLGATE_PROBE, 0, 0, 0, 0, 0);
	user_status[1] = callgate_call(CALLGATE_NOW, 0, 0, 0, 0, 0);
	user_status[2] = callgate_call(CALLGATE_EOI, 0, 0, 0, 0, 0);
	user_status[3] = callgate_call(CALLGATE_FILL, (uintptr_t)&user_status[7], 0x5A, 4, 0, 0);
	user_status[4] = callgate_call(CALLGATE_USER_MASK, ~0u, 0, 0, 0, 0);
	user_status[5] = callgate_call(CALLGATE_HELLO, CALLGATE_VERSION, 0, 0, 0, 0);
	__asm__ volatile("int %0" ::"i"(VECTOR_USER));
	__builtin_unreachable();
}
extern u8 user_faulted[];
static void faults_in_ring3(void)
{
	user_status[0] = callgate_call(CALLGATE_PROBE, 0, 0, 0, 0, 0);
	__asm__ volatile(".globl user_faulted; user_faulted: int %0" ::"i"(VECTOR_USER));
	__builtin_unreachable();
}
static u8 user_stack[4096] __attribute__((aligned(16)));

static void rings(void)
{
	want("mask of cpu", plain(CALLGATE_USER_MASK, CALLGATE_F_CPU, 0, 0, 0), CALLGATE_EINVAL);
	cpus[0].fixup = (u64)user_faulted;
	run_user(faults_in_ring3, user_stack + sizeof user_stack - 8, 0x2);
	__asm__ volatile("sti");
	want("#GP without IOPL", cpus[0].fault, 13);
	run_user(in_ring3, user_stack + sizeof user_stack - 8, 0x3002);
	__asm__ volatile("sti");
	want("probe in ring 3", user_status[0], CALLGATE_OK);
	want("now in ring 3", user_status[1], CALLGATE_EPERM);
	want("fill in ring 3", user_status[3], CALLGATE_EPERM);
	want("mask", plain(CALLGATE_USER_MASK, CALLGATE_F_TIME | CALLGATE_F_MEM, 0, 0, 0), CALLGATE_OK);
	run_user(in_ring3, user_stack + sizeof user_stack - 8, 0x3002);
	__asm__ volatile("sti");
	want("now in ring 3, let", user_status[1], CALLGATE_OK);
	want("eoi in ring 3", user_status[2], CALLGATE_EPERM);
	want("fill in ring 3, let", user_status[3], CALLGATE_OK);
	want("filled", user_status[7], 0x5A5A5A5A);
	want("mask in ring 3", user_status[4], CALLGATE_EPERM);
	want("hello in ring 3", user_status[5], CALLGATE_EPERM);
	/* A page that is the kernel's. */
	u64 *entry = (u64 *)page_tables + 1024 + ((u64)&user_status >> 21), was = *entry;
	(void)was;
	want("mask", plain(CALLGATE_USER_MASK, 0, 0, 0, 0), CALLGATE_OK);
}

static u8 page[8192] __attribute__((aligned(4096)));

/* How many instructions (ticks) it takes to clear the page. */
static u64 ticks_of_clear(void)
{
	page[0] = page[4095] = page[4096] = 7;
	u64 before = rdtsc();
	clear_page(page);
	before = rdtsc() - before;
	want("cleared", page[0] == 0 && page[4095] == 0 && page[4096] == 7, 1);
	return before;
}

static void hooks(void)
{
	u64 at = (u64)clear_page, size = (u64)(clear_page_end - (u8 *)at), hash = callgate_hash((void *)at, size), slot, native = ticks_of_clear(), got;
	volatile u8 *middle = (u8 *)at + size - 1;
	want_value("hook", CALLGATE_HOOK, 1ull << 63, 1, size, hash, CALLGATE_EINVAL, 0);
	want_value("hook", CALLGATE_HOOK, at, 0, size, hash, CALLGATE_EINVAL, 1);
	want_value("hook", CALLGATE_HOOK, at, 99, size, hash, CALLGATE_EINVAL, 1);
	want_value("hook", CALLGATE_HOOK, at, 1, 0, hash, CALLGATE_EINVAL, 2);
	want_value("hook", CALLGATE_HOOK, at, 1, 1025, hash, CALLGATE_E2BIG, CALLGATE_MAX_HOOK_BYTES);
	want_value("hook", CALLGATE_HOOK, at, 1, size, hash ^ 1, CALLGATE_EINVAL, 3);
	want_value("hook", CALLGATE_HOOK, 0xC0000000, 1, 2, 0, CALLGATE_EINVAL, 3);
	want_value("unhook", CALLGATE_UNHOOK, 0, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("hook_state", CALLGATE_HOOK_STATE, 64, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("query", CALLGATE_QUERY, CALLGATE_CLEAR_PAGES, 0, 0, 0, CALLGATE_OK, CALLGATE_IS_CALL);
	want("hook", callgate_hook((void *)at, CALLGATE_CLEAR_PAGE_FUNCTION, size, 0, 0, &slot), CALLGATE_OK);
	want_value("hook", CALLGATE_HOOK, at, 1, size, hash, CALLGATE_EBUSY, slot);
	want_value("query", CALLGATE_QUERY, CALLGATE_CLEAR_PAGES, 0, 0, 0, CALLGATE_OK, CALLGATE_IS_INTRINSIC);
	want_value("hook_state", CALLGATE_HOOK_STATE, slot, 0, 0, 0, CALLGATE_OK, 1 | CALLGATE_HOOK_IN_EFFECT);
	for (unsigned n = 0; n < 5; n++) {
		want("one instruction", (u32)ticks_of_clear(), (u32)native - 3);
		*middle = 0xC3; /* a store of what is there changes nothing */
		want("one instruction", (u32)ticks_of_clear(), (u32)native - 3);
		*middle = 0x90; /* and now it goes on into what is behind it: not called */
		want_value("hook_state", CALLGATE_HOOK_STATE, slot, 0, 0, 0, CALLGATE_OK, 1);
		*middle = 0xC3;
	}
	*(volatile u8 *)at = 0xBA; /* MOV EDX instead of ECX; 0 in ECX is nothing to clear, and the hook must not do it */
	page[0] = 1;
	__asm__ volatile("call *%1" : "=D"(got) : "r"(at), "D"(page), "c"(0) : "rax", "rdx", "memory");
	want("its own code", page[0], 1);
	*(volatile u8 *)at = 0xB9;
	want("one instruction", (u32)ticks_of_clear(), (u32)native - 3);
	want_value("unhook", CALLGATE_UNHOOK, slot, 0, 0, 0, CALLGATE_OK, 0);
	want("native again", (u32)ticks_of_clear(), (u32)native);
	want("hook", callgate_hook((void *)wait_ticks, CALLGATE_DELAY_FUNCTION, (u64)(wait_ticks_end - (u8 *)wait_ticks), 0, 0, &slot), CALLGATE_OK);
	got = rdtsc();
	wait_ticks(123456);
	got = rdtsc() - got;
	want("a delay takes its time and no more", got >= 123456 && got < 123556, 1);
	want_value("unhook", CALLGATE_UNHOOK, CALLGATE_HOOK_ALL, 0, 0, 0, CALLGATE_OK, 0);
	want_value("unhook", CALLGATE_UNHOOK, slot, 0, 0, 0, CALLGATE_EINVAL, 0);
}

void conformance(void)
{
	u64 value;
	want("absent without CPUID", callgate_cpuid_base() != 0, 1);
	want("present", (u32)callgate_present(), 1);
	registers_are_kept();
	want("before hello", plain(CALLGATE_NOW, 0, 0, 0, 0), CALLGATE_ENOTNEG);
	want_value("version 2", CALLGATE_HELLO, 0x20000, ~0u, 0, 0, CALLGATE_EVERSION, CALLGATE_VERSION);
	want("hello", callgate_hello(CALLGATE_F_ALL, &value), CALLGATE_OK);
	want("features", (u32)value, 0x100FE);
	for (u32 group = 0; group < 16; group++)
		for (u32 number = 16; number < 32; number++)
			want_value("no call", CALLGATE_CALL(group, number), 1, 2, 3, 4, CALLGATE_ENOSYS, 0);
	want_value("query", CALLGATE_QUERY, CALLGATE_FLUSH_TLB, 0, 0, 0, CALLGATE_OK, CALLGATE_IS_NOOP);
	want_value("query", CALLGATE_QUERY, CALLGATE_SNAPSHOT, 0, 0, 0, CALLGATE_OK, CALLGATE_IS_CALL);
	rings();

	u64 beyond = 1ull << cpu_count, hole = 0x8000000000000000ull;
	want_value("write_descriptors", CALLGATE_WRITE_DESCRIPTORS, 0, 15, (u64)page, 2, CALLGATE_EINVAL, 1);
	want_value("write_descriptors", CALLGATE_WRITE_DESCRIPTORS, 1, 0, (u64)page, 1, CALLGATE_EINVAL, 0);
	want_value("write_descriptors", CALLGATE_WRITE_DESCRIPTORS, 0, 6, hole, 1, CALLGATE_EFAULT, 0);
	want_value("write_descriptors", CALLGATE_WRITE_DESCRIPTORS, 0, 6, (u64)page, 9000, CALLGATE_E2BIG, 8192);
	want_value("load_ldt", CALLGATE_LOAD_LDT, LDT_SELECTOR, (u64)page, 12, 1, CALLGATE_EINVAL, 2);
	want_value("load_ldt", CALLGATE_LOAD_LDT, LDT_SELECTOR | 4, (u64)page, 16, 1, CALLGATE_EINVAL, 0);
	want_value("load_ldt", CALLGATE_LOAD_LDT, LDT_SELECTOR, (u64)page, 16, beyond, CALLGATE_EINVAL, 3);
	want_value("load_tls", CALLGATE_LOAD_TLS, 14, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("switch_mm", CALLGATE_SWITCH_MM, 1ull << 62, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("switch_mm", CALLGATE_SWITCH_MM, read_cr3(), 8, 0, 0, CALLGATE_EINVAL, 1);
	want_value("switch_mm", CALLGATE_SWITCH_MM, read_cr3(), 1, DATA, 0, CALLGATE_EINVAL, 2);
	want_value("flush_tlb", CALLGATE_FLUSH_TLB, 0, 0, beyond, 0, CALLGATE_EINVAL, 2);
	struct callgate_msr msr[2] = {{0xC0000103, 1, 3}, {0x12345678, 0, 0}};
	want_value("msr_batch", CALLGATE_MSR_BATCH, (u64)msr, 2, 0, 0, CALLGATE_EINVAL, 1);
	want("msr_batch wrote", (u32)rdmsr(0xC0000103), 3);
	want_value("msr_batch", CALLGATE_MSR_BATCH, (u64)msr, 65, 0, 0, CALLGATE_E2BIG, 64);
	want_value("msr_batch", CALLGATE_MSR_BATCH, hole, 1, 0, 0, CALLGATE_EFAULT, 0);

	u64 before = callgate_now(), ticks = rdtsc();
	want("now is the TSC's time", ticks - before < 1000, 1);
	want_value("now", CALLGATE_NOW, hole, 0, 0, 0, CALLGATE_EFAULT, 0);
	want_value("deadline", CALLGATE_DEADLINE, 1, 8, 0, 0, CALLGATE_EINVAL, 1);
	want_value("deadline", CALLGATE_DEADLINE, ~0ull, 0x40, 0, 0, CALLGATE_EINVAL, 0);
	want_value("skip", CALLGATE_SKIP, ~0ull, 0, 0, 0, CALLGATE_EINVAL, 0);
	want("skip", callgate_skip(callgate_now() + 1000000), CALLGATE_OK);
	want("a delay is as long as asked for", callgate_now() - before >= 1000000, 1);
	want("deadline", plain(CALLGATE_DEADLINE, 1, VECTOR_TIMER, 0, 0), CALLGATE_OK);
	want("skip", callgate_skip(callgate_now() + 100000), CALLGATE_OK);
	want("a time that has come interrupts at once", cpus[0].timers, 1);

	want_value("ipi", CALLGATE_IPI, 5, 1, 0, 0, CALLGATE_EINVAL, 0);
	want_value("ipi", CALLGATE_IPI, VECTOR_PING, beyond, 0, 0, CALLGATE_EINVAL, 1);
	want_value("ipi", CALLGATE_IPI, VECTOR_PING, 1, 4, 0, CALLGATE_EINVAL, 2);
	for (unsigned n = 0; n < cpu_count; n++)
		cpus[n].pings = 0;
	want("ipi to all", plain(CALLGATE_IPI, VECTOR_PING, beyond - 1, 0, 0), CALLGATE_OK);
	for (unsigned n = 0; n < cpu_count; n++)
		while (!*(volatile u32 *)&cpus[n].pings)
			pause();
	want_value("kick", CALLGATE_KICK, beyond, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("halt_until", CALLGATE_HALT_UNTIL, 0, 2, 0, 0, CALLGATE_EINVAL, 1);
	want("halt_until", plain(CALLGATE_HALT_UNTIL, callgate_now() + 50000, 0, 0, 0), CALLGATE_OK);
	want("kick oneself", plain(CALLGATE_KICK, 1, 0, 0, 0), CALLGATE_OK);
	want("halt_until", plain(CALLGATE_HALT_UNTIL, CALLGATE_FOREVER, 0, 0, 0), CALLGATE_OK);

	want_value("write", CALLGATE_WRITE, hole, 5, 0, 0, CALLGATE_EFAULT, 0);
	want_value("write", CALLGATE_WRITE, (u64)page, 1ull << 41, 0, 0, CALLGATE_E2BIG, 1ull << 40);
	want_value("attach", CALLGATE_ATTACH, 3, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("attach", CALLGATE_ATTACH, 1, 7, 0, 0, CALLGATE_EINVAL, 1);
	want_value("read", CALLGATE_READ, (u64)page, 100, 0, 0, CALLGATE_OK, 0);
	want_value("copy", CALLGATE_COPY, (u64)page, (u64)page + 1, 2, 0, CALLGATE_EINVAL, 1);
	want_value("copy", CALLGATE_COPY, (u64)page + 1, (u64)page, 2, 0, CALLGATE_EINVAL, 0);
	want_value("fill", CALLGATE_FILL, (u64)page, 256, 2, 0, CALLGATE_EINVAL, 1);
	want_value("clear_pages", CALLGATE_CLEAR_PAGES, (u64)page + 1, 1, 0, 0, CALLGATE_EINVAL, 0);
	want_value("clear_pages", CALLGATE_CLEAR_PAGES, (u64)page, 2, 0, 0, CALLGATE_OK, 2);
	want_value("checksum", CALLGATE_CHECKSUM, (u64)page, 65537, 0, 0, CALLGATE_E2BIG, 65536);
	want_value("log", CALLGATE_LOG, (u64) "conforming", 10, 0, 0, CALLGATE_OK, 0);
	want_value("log", CALLGATE_LOG, (u64)page, 1025, 0, 0, CALLGATE_E2BIG, 1024);
	want_value("assert", CALLGATE_ASSERT, 1, hole, 4, 0, CALLGATE_OK, 0);
	want_value("mark", CALLGATE_MARK, 42, 0, 0, 0, CALLGATE_OK, 42);
	want_value("break", CALLGATE_BREAK, 0, 0, 0, 0, CALLGATE_OK, 0);
	want_value("get_input", CALLGATE_GET_INPUT, (u64)page, 8192, 0, 0, CALLGATE_OK, 0);
	want_value("get_input", CALLGATE_GET_INPUT, hole, 0, 0, 0, CALLGATE_OK, 0);

	hooks();
	want_value("ring", CALLGATE_RING, (u64)page + 8, 8, 0, 0, CALLGATE_EINVAL, 0);
	want_value("ring", CALLGATE_RING, (u64)page, 9, 0, 0, CALLGATE_EINVAL, 1);
	want_value("ring", CALLGATE_RING, (u64)page, 4096, 0, 0, CALLGATE_E2BIG, 1024);
	want_value("doorbell", CALLGATE_DOORBELL, 0, 0, 0, 0, CALLGATE_EINVAL, 0);
	want_value("ring", CALLGATE_RING, (u64)page, 8, 0, 0, CALLGATE_OK, 0);
	want_value("hello", CALLGATE_HELLO, CALLGATE_VERSION, 0, 0, 0, CALLGATE_EBUSY, 0);
	want_value("doorbell", CALLGATE_DOORBELL, 0, 0, 0, 0, CALLGATE_OK, 0);
	want_value("ring", CALLGATE_RING, 0, 0, 0, 0, CALLGATE_OK, 0);
	snapshots();
	uart_write("conforming\n", 11);
	print_number("checks", checks);
}
