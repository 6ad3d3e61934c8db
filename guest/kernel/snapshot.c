/*
 * SNAPSHOT and RESTORE: what goes back and what does not (a part of test=conformance), and what they are for (test=target): a loop that
 * feeds a parser with inputs from outside, from the same state each time.
 */
#include "kernel.h"

static u32 keep(u64 slot, u64 *value) { return callgate_call(CALLGATE_SNAPSHOT, slot, 0, 0, 0, value); }
static u32 back(u64 slot, u64 value) { return callgate_call(CALLGATE_RESTORE, slot, value, 0, 0, 0); }
static u8 cmos(u8 index)
{
	outb(0x70, index);
	return inb(0x71);
}

static u64 pages[2][512] __attribute__((aligned(4096)));
static volatile u32 touched;

/* Memory, registers, devices, time, what HELLO granted; not the processors' counts, nor the slots. */
static void what_goes_back(void)
{
	u64 value = 9, other = 9;
	u32 mask = inb(0x21);
	wrmsr(0xC0000103, 1);
	outb(0x70, 0x40), outb(0x71, 0x11);
	pages[0][0] = 1;
	u64 before = callgate_now();
	want("snapshot", keep(0, &value), CALLGATE_OK);
	if (value == 0) {
		want("time", callgate_now() - before < 1000, 1);
		touched++;
		wrmsr(0xC0000103, 2);
		outb(0x70, 0x40), outb(0x71, 0x22);
		outb(0x21, 0xFE);
		pages[0][0] = 2, pages[1][511] = 3;
		apic_write(0x80, 0x20);
		callgate_skip(callgate_now() + 1000000);
		callgate_hello(CALLGATE_F_TEST, 0);
		want("restore of 0", back(0, 0), CALLGATE_EINVAL);
		want("restore of 2^32", back(0, 1ull << 32), CALLGATE_EINVAL);
		want("restore of an empty slot", back(1, 1), CALLGATE_EINVAL);
		want("restore of no slot", back(4, 1), CALLGATE_EINVAL);
		back(0, 0xFFFFFFFF);
		fail("restore returned", 0);
	}
	if (value == 1) /* from the later place */
		back(3, 5);
	want("second return", (u32)value, 0xFFFFFFFF);
	want("second return's upper half", (u32)(value >> 32), 0);
	want("memory", touched == 0 && pages[0][0] == 1 && pages[1][511] == 0, 1);
	want("a register", (u32)rdmsr(0xC0000103), 1);
	want("cmos", cmos(0x40), 0x11);
	want("the interrupt controller", inb(0x21), mask);
	want("the local APIC", apic_read(0x80), 0);
	want("time", callgate_now() - before < 2000, 1);

	/* A later place and an earlier one; from the earlier to the later again. */
	pages[0][1] = 10;
	want("another slot", keep(3, &other), CALLGATE_OK);
	if (other == 0) {
		pages[0][1] = 11;
		back(0, 1);
	}
	want("the earlier place's return", (u32)value, 0xFFFFFFFF);
	want("a later place", (u32)other, 5);
	want("its memory", (u32)pages[0][1], 10);
	want("forgotten", callgate_call(CALLGATE_SNAPSHOT, 3, CALLGATE_SNAPSHOT_FORGET, 0, 0, 0), CALLGATE_OK);
	want("a forgotten slot", back(3, 1), CALLGATE_EINVAL);
}

/* A place that is taken by its own alarm: DEADLINE is armed before, and comes after each return. */
static void alarms(void)
{
	u64 value;
	u32 before = cpus[0].timers;
	want("deadline", callgate_call(CALLGATE_DEADLINE, callgate_now() + 50000, VECTOR_TIMER, 0, 0, 0), CALLGATE_OK);
	want("snapshot", keep(1, &value), CALLGATE_OK);
	want("not yet", cpus[0].timers, before);
	while (cpus[0].timers == before)
		pause();
	want("once", cpus[0].timers, before + 1);
	if (value < 3)
		back(1, value + 1);
}

/* The other processors: one that sleeps is asleep again, and can be woken again. */
static void others(void)
{
	u64 value;
	if (cpu_count < 2)
		return;
	cpus[1].wait_for_kick = 1;
	send_ipi(1, VECTOR_PING);
	while (cpus[1].wait_for_kick != 2)
		pause();
	callgate_skip(callgate_now() + 100000); /* it sleeps now */
	u32 kicked = cpus[1].kicked, pings = cpus[1].pings;
	want("snapshot", keep(2, &value), CALLGATE_OK);
	want("asleep", cpus[1].wait_for_kick == 2 && cpus[1].kicked == kicked && cpus[1].pings == pings, 1);
	want("kick", callgate_call(CALLGATE_KICK, 2, 0, 0, 0, 0), CALLGATE_OK);
	while (cpus[1].kicked == kicked)
		pause();
	if (value < 4) {
		send_ipi(1, VECTOR_PING);
		while (cpus[1].pings == pings)
			pause();
		back(2, value + 1);
	}
}

void snapshots(void)
{
	u64 value;
	static u64 ring[24] __attribute__((aligned(64)));
	want("snapshot's slot", callgate_call(CALLGATE_SNAPSHOT, 4, 0, 0, 0, &value), CALLGATE_E2BIG);
	want("its limit", (u32)value, CALLGATE_MAX_SNAPSHOTS);
	want("snapshot's flags", callgate_call(CALLGATE_SNAPSHOT, 0, 2, 0, 0, &value), CALLGATE_EINVAL);
	want("which argument", (u32)value, 1);
	want("forget an empty slot", callgate_call(CALLGATE_SNAPSHOT, 0, CALLGATE_SNAPSHOT_FORGET, 0, 0, 0), CALLGATE_OK);
	for (unsigned call = CALLGATE_SNAPSHOT; call <= CALLGATE_RESTORE; call++) {
		memset(ring, 0, sizeof ring);
		ring[0] = 1ull << 32;
		ring[8] = call;
		want("ring", callgate_call(CALLGATE_RING, (u64)ring, 2, 0, 0, 0), CALLGATE_OK);
		want("doorbell", callgate_call(CALLGATE_DOORBELL, 0, 0, 0, 0, 0), CALLGATE_OK);
		want("not in a ring", (u32)(ring[8] >> 32), CALLGATE_ENOSYS);
		want("no ring", callgate_call(CALLGATE_RING, 0, 0, 0, 0, 0), CALLGATE_OK);
	}
	what_goes_back();
	alarms();
	others();
	for (u64 slot = 0; slot < CALLGATE_MAX_SNAPSHOTS; slot++)
		want("forget", callgate_call(CALLGATE_SNAPSHOT, slot, CALLGATE_SNAPSHOT_FORGET, 0, 0, 0), CALLGATE_OK);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

#define INPUT 16

/* What is tested: a reader of type, length, value, that believes lengths, and remembers what it saw. */
static u8 table[64 << 10] __attribute__((aligned(4096)));
static u64 seen;
static void parse(const u8 *text, u64 size)
{
	for (u64 at = 0; at + 2 <= size;) {
		u8 type = text[at], length = text[at + 1];
		seen++;
		memset(table + 256 * (u64)type, length, 64);
		if (type == 0xEE && length == 0xEE)
			*(volatile u64 *)0x700000000000 = seen; /* not mapped */
		at += 2 + (length & 7);
	}
	if (seen > INPUT)
		fail("the parser's state was not put back", seen);
}

/* value: tries so far, and above bit 20 how many of them ended in a fault. */
static u64 tries, got;
static u8 text[INPUT];
static void went_wrong(void)
{
	callgate_call(CALLGATE_LOG, (uintptr_t)text, got, 0, 0, 0);
	back(0, tries + 1 + (1u << 20));
	fail("restore returned", tries);
}
void target(void)
{
	if (callgate_hello(CALLGATE_F_ALL, &got) != CALLGATE_OK)
		fail("there is no port: --paravirt callgate", 0);
	want("snapshot", keep(0, &tries), CALLGATE_OK);
	if (callgate_call(CALLGATE_GET_INPUT, (uintptr_t)text, sizeof text, 0, 0, &got) != CALLGATE_OK)
		fail("get_input", got);
	if (got == 0) {
		print_number("tries", tries & 0xFFFFF);
		print_number("faults", tries >> 20);
		return;
	}
	cpus[0].fixup = (u64)went_wrong;
	parse(text, got);
	back(0, tries + 1);
	fail("restore returned", tries);
}
