/*
 * Random calls: any number, arguments from what is usual, near what is usual, and anything; in ring 0 and ring 3, by registers and by the
 * ring. What they may destroy is put right again before the next; whatever they answer, the run comes to its end. The answers go
 * into a digest, for comparing runs.
 */
#include "kernel.h"

static u64 state;
static u64 next(void)
{
	state += 0x9E3779B97F4A7C15ull;
	u64 z = state;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
	z = (z ^ z >> 27) * 0x94D049BB133111EBull;
	return z ^ z >> 31;
}
static u64 below(u64 n) { return next() % n; }

/* What calls may write to: far from everything else. */
#define PLAYGROUND 0x800000ull
#define PLAYGROUND_SIZE 0x200000ull

static u64 address(void)
{
	static const u64 odd[] = {0, 0xFFF, 0x7FFFFFFFFFFFull, 0x800000000000ull, 0xFFFF800000000000ull, ~0ull, ~0ull << 12, 0xFEE00000, 0xA0000,
	                          0xFFFFFFFF, 0xC0000000, 0xFEC00000};
	switch (below(8)) {
	case 0: return odd[below(sizeof odd / sizeof odd[0])];
	case 1: return next();
	case 2: return PLAYGROUND + PLAYGROUND_SIZE / 2 + (below(64) << 12) - below(16);
	default: return PLAYGROUND + below(PLAYGROUND_SIZE / 2) + (below(2) ? 0 : (below(64) << 12));
	}
}
static u64 number(void)
{
	switch (below(6)) {
	case 0: return next();
	case 1: return 1ull << below(64);
	case 2: return (1ull << below(64)) - 1;
	case 3: return below(70000);
	default: return below(20);
	}
}

static volatile u64 restores;

/* Places where a random call would do what its instruction does and end the experiment, or write outside of the playground. */
static int allowed(u32 call, u64 *a)
{
	switch (call) {
	case CALLGATE_EXIT:
	case CALLGATE_ASSERT:
	case CALLGATE_SWITCH_MM: /* its wrong arguments only */
		if (call == CALLGATE_SWITCH_MM) {
			a[0] |= 1ull << 50;
			return 1;
		}
		a[0] = 1;
		return call == CALLGATE_ASSERT;
	case CALLGATE_IPI:
		if (a[0] != VECTOR_PING && a[0] >= 16 && a[0] < 256)
			a[0] = VECTOR_PING;
		a[2] &= ~1ull;
		return 1;
	case CALLGATE_DEADLINE:
		if (a[1] >= 16 && a[1] < 256)
			a[1] = VECTOR_TIMER;
		return 1;
	case CALLGATE_SKIP:
		if (a[0] > callgate_now() + 100000 && a[0] < 1ull << 62)
			a[0] = callgate_now() + below(100000);
		return 1;
	case CALLGATE_HALT_UNTIL:
		a[0] = callgate_now() + below(100000);
		return 1;
	case CALLGATE_ATTACH:
		if (a[1] >= 16 && a[1] < 256)
			a[1] = VECTOR_CONSOLE;
		return 1;
	case CALLGATE_WRITE:
		a[1] = below(3) ? below(40) : a[1] & ~0xFFFFull; /* not a flood */
		return a[1] < 100 || a[1] > 1ull << 40;
	case CALLGATE_WRITE_DESCRIPTORS:
	case CALLGATE_LOAD_TLS:
		if (a[call == CALLGATE_LOAD_TLS ? 0 : 1] < 16) /* but three of them */
			a[call == CALLGATE_LOAD_TLS ? 0 : 1] = call == CALLGATE_LOAD_TLS ? TLS_FIRST : 7;
		if (call == CALLGATE_WRITE_DESCRIPTORS && a[3] > 2 && a[3] <= 8192)
			a[3] = below(3);
		return 1;
	case CALLGATE_LOAD_LDT:
		if (a[0] < 0x80)
			a[0] = LDT_SELECTOR + below(2) * 4;
		return 1;
	case CALLGATE_SET_SP0: return 0;
	case CALLGATE_SNAPSHOT:
		a[0] %= 6;
		a[1] = below(4) ? 0 : a[1] % 4;
		return 1;
	case CALLGATE_RESTORE: /* the value says how many there were, since nothing else does */
		a[0] %= 5;
		a[1] = below(8) ? restores + 1 : 0;
		return restores < 12;
	case CALLGATE_COPY:
	case CALLGATE_FILL:
	case CALLGATE_CLEAR_PAGES:
	case CALLGATE_READ:
	case CALLGATE_GET_INPUT:
	case CALLGATE_NOW:
	case CALLGATE_WALL_CLOCK:
		/* Low memory and the kernel are not for writing, nor registers of devices. */
		if (a[0] < PLAYGROUND || (a[0] >= PLAYGROUND + PLAYGROUND_SIZE && a[0] < 0x7FFFFFFFE000ull))
			a[0] = a[0] == 0 ? 0 : PLAYGROUND + a[0] % PLAYGROUND_SIZE;
		return 1;
	case CALLGATE_RING:
		if (a[0] != 0 && (a[0] < PLAYGROUND || (a[0] >= PLAYGROUND + PLAYGROUND_SIZE && a[0] < 0x7FFFFFFFE000ull)))
			a[0] = PLAYGROUND + (a[0] % PLAYGROUND_SIZE & ~63ull);
		return 1;
	case CALLGATE_MSR_BATCH: return 1;
	case CALLGATE_HOOK: /* mostly a function that there is, as whatever it isn't; what it stores goes to the playground */
		if (below(4)) {
			a[0] = (u64)copy_bytes;
			a[1] = below(11);
			a[2] = (u64)(copy_bytes_end - (u8 *)copy_bytes) - (below(4) == 0);
			a[3] = callgate_hash(copy_bytes, a[2]) ^ (below(8) == 0);
			a[4] = a[1] == CALLGATE_LOAD_LDT_FUNCTION || below(8) == 0 ? LDT_SELECTOR : 0;
			a[5] = a[1] == CALLGATE_LOAD_LDT_FUNCTION || below(8) == 0 ? PLAYGROUND : 0;
		}
		return (u32)a[1] != CALLGATE_LOAD_LDT_FUNCTION || a[5] == PLAYGROUND;
	case CALLGATE_UNHOOK:
		a[0] = below(2) ? below(4) : CALLGATE_HOOK_ALL;
		return 1;
	}
	return 1;
}

static const u8 calls_of_group[] = {6, 7, 4, 4, 3, 4, 8, 3};
static u32 call_number(void)
{
	if (below(20) == 0)
		return (u32)next();
	u32 group = (u32)below(9);
	return CALLGATE_CALL(group, below(group < 8 ? calls_of_group[group] + (below(10) == 0) : 4));
}

static volatile u64 user_call[8];
static void in_ring3(void)
{
	u64 value = 0;
	user_call[7] = callgate_call6((u32)user_call[0], user_call[1], user_call[2], user_call[3], user_call[4], user_call[5], user_call[6], &value);
	user_call[0] = value;
	__asm__ volatile("int %0" ::"i"(VECTOR_USER));
	__builtin_unreachable();
}
static u8 user_stack[4096] __attribute__((aligned(16)));

void fuzz(void)
{
	state = number_of("seed", 1);
	u64 calls = number_of("calls", 2000), digest = 0, statuses[12] = {0};
	struct callgate_ring_header *ring = (struct callgate_ring_header *)(PLAYGROUND + 0x1000);
	struct callgate_ring_entry *entry = (struct callgate_ring_entry *)(ring + 1);
	if (!callgate_present())
		fail("there is no port: --paravirt callgate", 0);
	for (u64 n = 0; n < calls; n++) {
		u64 a[6], value = 0;
		u32 status, call = call_number(), direct = 1;
		for (unsigned i = 0; i < 6; i++)
			a[i] = below(2) ? address() : number();
		/* MSR_BATCH's entries are made up, too: reads and writes of numbers that no processor has, or of harmless ones. */
		if (below(8) == 0) {
			struct callgate_msr *msr = (struct callgate_msr *)(PLAYGROUND + 0x8000);
			for (unsigned i = 0; i < 8; i++)
				msr[i] = (struct callgate_msr){below(2) ? 0xC0000103 : 0x10000 + (u32)below(1000), (u32)below(3), number()};
		}
		if (call == CALLGATE_MSR_BATCH)
			a[0] = below(4) ? PLAYGROUND + 0x8000 : ~0ull << below(60);
		/* HELLO takes things away; now and then, all comes back. */
		if (below(10) == 0)
			callgate_call(CALLGATE_HELLO, CALLGATE_VERSION, CALLGATE_F_ALL, 0, 0, 0);
		if (!allowed(call, a))
			continue;
		if (call == CALLGATE_MSR_BATCH && a[0] == PLAYGROUND + 0x8000) {
			struct callgate_msr *msr = (struct callgate_msr *)a[0];
			for (unsigned i = 0; i < 64; i++)
				if (msr[i].index != 0xC0000103)
					msr[i].index = 0x10000 + (msr[i].index & 0xFFFF);
		}
		switch (below(5)) {
		case 0: /* in ring 3 */
			user_call[0] = call;
			for (unsigned i = 0; i < 6; i++)
				user_call[1 + i] = a[i];
			run_user(in_ring3, user_stack + sizeof user_stack - 8, 0x3002);
			__asm__ volatile("sti");
			status = (u32)user_call[7];
			value = user_call[0];
			break;
		case 1: { /* by a ring, which may be anything behind its first entry */
			u32 index = (u32)below(3);
			direct = 0; /* the status is DOORBELL's */
			if (call == CALLGATE_RING || callgate_call(CALLGATE_RING, (uintptr_t)ring, 4, 0, 0, 0) != CALLGATE_OK)
				continue;
			*(volatile u32 *)&ring->done = *(volatile u32 *)&ring->ready = 0;
			for (u32 i = 0; i <= index; i++)
				entry[i] = (struct callgate_ring_entry){i == index ? call : (u32)CALLGATE_PROBE, CALLGATE_PENDING, {a[0], a[1], a[2], a[3], a[4], a[5]}, 0};
			ring->flags = (u32)below(2);
			*(volatile u32 *)&ring->ready = index + 1;
			status = callgate_call(CALLGATE_DOORBELL, 0, 0, 0, 0, &value);
			callgate_call(CALLGATE_RING, 0, 0, 0, 0, 0);
			break;
		}
		default: status = callgate_call6(call, a[0], a[1], a[2], a[3], a[4], a[5], &value);
		}
		/* From a place that was kept another way is taken each time. */
		if (direct && call == CALLGATE_SNAPSHOT && status == CALLGATE_OK && value != 0) {
			restores = value;
			state += value * 0x632BE59BD9B4E019ull;
		}
		if (status > CALLGATE_EMODE)
			fail("a status that there is not", status);
		statuses[status]++;
		digest = (digest ^ status ^ (u64)call << 32) * 0xD6E8FEB86659FD93ull;
		digest ^= value + (digest >> 29);
		/* What is hooked there may be a lie, but not a crash. */
		if (call == CALLGATE_HOOK || below(50) == 0) {
			u64 rdi = PLAYGROUND + (below(64) << 12), rsi = below(2) ? 7 : PLAYGROUND + 0x100000 + below(8192), rdx = below(9000);
			__asm__ volatile("call *%[function]" : "+D"(rdi), "+S"(rsi), "+d"(rdx) : [function] "r"((u64)copy_bytes) : "rax", "rcx", "memory");
			digest = (digest ^ rdi) * 0xD6E8FEB86659FD93ull;
			__asm__ volatile("lldt %w0" ::"r"(0));
		}
		if (call == CALLGATE_RING) /* DOORBELL must not execute what lies anywhere */
			callgate_call(CALLGATE_RING, 0, 0, 0, 0, 0);
		if (call == CALLGATE_LOAD_LDT)
			__asm__ volatile("lldt %w0" ::"r"(0));
		wrmsr(0xC0000103, 0);
	}
	uart_write("statuses", 8);
	for (unsigned n = 0; n < 11; n++)
		print_number("", statuses[n]);
	print_number("digest", digest);
}
