/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Callgate's port for guests: everything of paravirt/ABI.md, version 1.1, in one header. Needs nothing but a C compiler that knows
 * GCC's inline assembly (C99 or later; C++ too); allocates nothing, calls nothing. For kernels of any kind, boot loaders, firmware,
 * and for programs that a kernel lets through (IOPL or the TSS's bitmap, and CALLGATE_USER_MASK).
 *
 *     if (callgate_present()) {
 *         uint64_t granted;
 *         callgate_hello(CALLGATE_F_CONSOLE, &granted);
 *         if (granted & CALLGATE_F_CONSOLE) callgate_console_write("hello\n", 6);
 *     }
 *
 * What a call may use of memory is what its caller may. Every function gives one of the CALLGATE_E.. values, or CALLGATE_OK.
 */
#ifndef CALLGATE_H
#define CALLGATE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define CALLGATE_VERSION 0x00010001u /* major << 16 | minor */
#define CALLGATE_PORT 0xE4
#define CALLGATE_SIGNATURE "CallgatePort"

/* What a call gives back. All ones: there is no port. */
enum {
	CALLGATE_OK = 0,
	CALLGATE_ENOSYS = 1,
	CALLGATE_EPERM = 2,
	CALLGATE_EINVAL = 3,
	CALLGATE_EFAULT = 4,
	CALLGATE_E2BIG = 5,
	CALLGATE_EAGAIN = 6,
	CALLGATE_ENOTNEG = 7,
	CALLGATE_EBUSY = 8,
	CALLGATE_EVERSION = 9,
	CALLGATE_EMODE = 10
};
#define CALLGATE_PENDING 0xFFFFFFFEu
#define CALLGATE_ABSENT 0xFFFFFFFFu

#define CALLGATE_CALL(group, number) ((uint32_t)(group) << 16 | (uint32_t)(number))

#define CALLGATE_PROBE CALLGATE_CALL(0, 0)
#define CALLGATE_HELLO CALLGATE_CALL(0, 1)
#define CALLGATE_QUERY CALLGATE_CALL(0, 2)
#define CALLGATE_USER_MASK CALLGATE_CALL(0, 3)
#define CALLGATE_RING CALLGATE_CALL(0, 4)
#define CALLGATE_DOORBELL CALLGATE_CALL(0, 5)

#define CALLGATE_WRITE_DESCRIPTORS CALLGATE_CALL(1, 0)
#define CALLGATE_LOAD_LDT CALLGATE_CALL(1, 1)
#define CALLGATE_LOAD_TLS CALLGATE_CALL(1, 2)
#define CALLGATE_SET_SP0 CALLGATE_CALL(1, 3)
#define CALLGATE_SWITCH_MM CALLGATE_CALL(1, 4)
#define CALLGATE_FLUSH_TLB CALLGATE_CALL(1, 5)
#define CALLGATE_MSR_BATCH CALLGATE_CALL(1, 6)

#define CALLGATE_NOW CALLGATE_CALL(2, 0)
#define CALLGATE_WALL_CLOCK CALLGATE_CALL(2, 1)
#define CALLGATE_DEADLINE CALLGATE_CALL(2, 2)
#define CALLGATE_SKIP CALLGATE_CALL(2, 3)

#define CALLGATE_EOI CALLGATE_CALL(3, 0)
#define CALLGATE_IPI CALLGATE_CALL(3, 1)
#define CALLGATE_KICK CALLGATE_CALL(3, 2)
#define CALLGATE_HALT_UNTIL CALLGATE_CALL(3, 3)

#define CALLGATE_WRITE CALLGATE_CALL(4, 0)
#define CALLGATE_READ CALLGATE_CALL(4, 1)
#define CALLGATE_ATTACH CALLGATE_CALL(4, 2)

#define CALLGATE_COPY CALLGATE_CALL(5, 0)
#define CALLGATE_FILL CALLGATE_CALL(5, 1)
#define CALLGATE_CLEAR_PAGES CALLGATE_CALL(5, 2)
#define CALLGATE_CHECKSUM CALLGATE_CALL(5, 3)

#define CALLGATE_EXIT CALLGATE_CALL(6, 0)
#define CALLGATE_ASSERT CALLGATE_CALL(6, 1)
#define CALLGATE_LOG CALLGATE_CALL(6, 2)
#define CALLGATE_MARK CALLGATE_CALL(6, 3)
#define CALLGATE_BREAK CALLGATE_CALL(6, 4)
#define CALLGATE_SNAPSHOT CALLGATE_CALL(6, 5)
#define CALLGATE_RESTORE CALLGATE_CALL(6, 6)
#define CALLGATE_GET_INPUT CALLGATE_CALL(6, 7)

#define CALLGATE_HOOK CALLGATE_CALL(7, 0)
#define CALLGATE_UNHOOK CALLGATE_CALL(7, 1)
#define CALLGATE_HOOK_STATE CALLGATE_CALL(7, 2)

/* What a hooked function is. */
enum {
	CALLGATE_CLEAR_PAGE_FUNCTION = 1, /* (to) */
	CALLGATE_COPY_PAGE_FUNCTION = 2,  /* (to, from) */
	CALLGATE_MEMCPY_FUNCTION = 3,     /* (to, from, bytes) */
	CALLGATE_MEMSET_FUNCTION = 4,     /* (to, byte, bytes) */
	CALLGATE_COPY_USER_FUNCTION = 5,  /* (to, from, bytes): how many were not copied */
	CALLGATE_LOAD_LDT_FUNCTION = 6,   /* (entries, count) */
	CALLGATE_DELAY_FUNCTION = 7,      /* (ticks) */
	CALLGATE_YIELD_FUNCTION = 8       /* anything that would wait for another processor */
};
#define CALLGATE_HOOK_ALL (~(uint64_t)0)         /* UNHOOK: all of them */
#define CALLGATE_HOOK_IN_EFFECT ((uint64_t)1 << 32) /* of HOOK_STATE */
#define CALLGATE_MAX_HOOKS 64u
#define CALLGATE_MAX_HOOK_BYTES 1024u

/* Features for HELLO; what is asked for and not known is not granted. */
#define CALLGATE_F_CPU (1u << 1)
#define CALLGATE_F_TIME (1u << 2)
#define CALLGATE_F_IRQ (1u << 3)
#define CALLGATE_F_CONSOLE (1u << 4)
#define CALLGATE_F_MEM (1u << 5)
#define CALLGATE_F_TEST (1u << 6)
#define CALLGATE_F_HOOKS (1u << 7)
#define CALLGATE_F_RING (1u << 16)
#define CALLGATE_F_ALL 0xFFFFFFFFu

/* QUERY's answers. */
enum { CALLGATE_IS_NATIVE = 0, CALLGATE_IS_NOOP = 1, CALLGATE_IS_CALL = 2, CALLGATE_IS_INTRINSIC = 3 };

/* Flags. */
#define CALLGATE_RING_STOP_ON_ERROR 1u
#define CALLGATE_SWITCH_LDT 1u
#define CALLGATE_SWITCH_SP0 2u
#define CALLGATE_LDT_SAME_MM 1u
#define CALLGATE_HALT_ENABLE 1u
#define CALLGATE_IPI_NMI 1u
#define CALLGATE_SNAPSHOT_FORGET 1u

#define CALLGATE_MAX_BYTES 65536u     /* that one call moves */
#define CALLGATE_MAX_DESCRIPTORS 8192u
#define CALLGATE_MAX_MSRS 64u
#define CALLGATE_MAX_RING 1024u
#define CALLGATE_MAX_SNAPSHOTS 4u
#define CALLGATE_FOREVER (~(uint64_t)0)

struct callgate_ring_header {
	uint32_t done;  /* entries executed: the port's */
	uint32_t ready; /* entries made ready: the guest's */
	uint32_t flags;
	uint32_t reserved[13];
};
struct callgate_ring_entry {
	uint32_t call;
	uint32_t status;
	uint64_t argument[6];
	uint64_t value;
};
struct callgate_msr {
	uint32_t index;
	uint32_t write; /* 0: read into value */
	uint64_t value;
};

/* The instruction. RBX, or EBX outside of 64-bit mode, comes back as *value. */
#ifdef __x86_64__
static inline uint32_t callgate_call6(uint32_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                                      uint64_t *value)
{
	uint64_t result = number, rbx = a;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	__asm__ volatile("in $0xE4, %%eax" : "+a"(result), "+b"(rbx) : "c"(b), "S"(c), "D"(d), "r"(r8), "r"(r9) : "memory");
	if (value)
		*value = rbx;
	return (uint32_t)result;
}
#else
/* The fifth and sixth argument only go by the ring. */
static inline uint32_t callgate_call6(uint32_t number, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f,
                                      uint64_t *value)
{
	uint32_t result = number, ebx = a;
	(void)e;
	(void)f;
	__asm__ volatile("in $0xE4, %%eax" : "+a"(result), "+b"(ebx) : "c"(b), "S"(c), "D"(d) : "memory");
	if (value)
		*value = ebx;
	return result;
}
#endif

static inline uint32_t callgate_call(uint32_t number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uint64_t *value)
{
	return callgate_call6(number, a, b, c, d, 0, 0, value);
}

/* The port, by itself: on bare metal it reads all ones. For who has no CPUID, or is not at ring 0 (where it may fault). */
static inline int callgate_present(void)
{
	uint64_t version = 0;
	return callgate_call(CALLGATE_PROBE, 0, 0, 0, 0, &version) == CALLGATE_OK && version >> 16 == CALLGATE_VERSION >> 16;
}

/* The CPUID block: its base, or 0. Its next leaf is version, port, features. */
static inline uint32_t callgate_cpuid_base(void)
{
	uint32_t base, a, b, c, d;
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
	if (!(c >> 31))
		return 0;
	for (base = 0x40000000u; base < 0x40010000u; base += 0x100) {
		__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(base), "c"(0));
		if (b == 0x6C6C6143u && c == 0x65746167u && d == 0x74726F50u) /* "Call" "gate" "Port" */
			return base;
	}
	return 0;
}

static inline uint32_t callgate_hello(uint32_t wanted, uint64_t *granted)
{
	return callgate_call(CALLGATE_HELLO, CALLGATE_VERSION, wanted, 0, 0, granted);
}

static inline uint32_t callgate_query(uint32_t call, uint64_t *kind) { return callgate_call(CALLGATE_QUERY, call, 0, 0, 0, kind); }

/* Calls that do a part and say EAGAIN, done to their end. *done counts bytes; on EFAULT, those before the fault. */
static inline uint32_t callgate_console_write(const void *bytes, uintptr_t count)
{
	const char *at = (const char *)bytes;
	uint64_t done;
	uint32_t status;
	do {
		status = callgate_call(CALLGATE_WRITE, (uintptr_t)at, count, 0, 0, &done);
		at += done;
		count -= (uintptr_t)done;
	} while (status == CALLGATE_EAGAIN);
	return status;
}

static inline uint32_t callgate_console_read(void *to, uintptr_t capacity, uint64_t *got)
{
	return callgate_call(CALLGATE_READ, (uintptr_t)to, capacity, 0, 0, got);
}

static inline uint32_t callgate_copy(void *to, const void *from, uintptr_t count)
{
	char *t = (char *)to;
	const char *s = (const char *)from;
	uint64_t done;
	uint32_t status;
	do {
		status = callgate_call(CALLGATE_COPY, (uintptr_t)t, (uintptr_t)s, count, 0, &done);
		if (status != CALLGATE_OK && status != CALLGATE_EAGAIN)
			break;
		t += done;
		s += done;
		count -= (uintptr_t)done;
	} while (status == CALLGATE_EAGAIN);
	return status;
}

static inline uint32_t callgate_fill(void *to, unsigned char byte, uintptr_t count)
{
	char *t = (char *)to;
	uint64_t done;
	uint32_t status;
	do {
		status = callgate_call(CALLGATE_FILL, (uintptr_t)t, byte, count, 0, &done);
		if (status != CALLGATE_OK && status != CALLGATE_EAGAIN)
			break;
		t += done;
		count -= (uintptr_t)done;
	} while (status == CALLGATE_EAGAIN);
	return status;
}

/* CRC-32C as the CRC32 instruction computes it: no inversion of seed or result. */
static inline uint32_t callgate_checksum(const void *bytes, uintptr_t count, uint32_t seed, uint32_t *crc)
{
	const char *at = (const char *)bytes;
	uint32_t status = CALLGATE_OK;
	uint64_t value;
	*crc = seed;
	while (count != 0 && status == CALLGATE_OK) {
		uintptr_t n = count < CALLGATE_MAX_BYTES ? count : CALLGATE_MAX_BYTES;
		status = callgate_call(CALLGATE_CHECKSUM, (uintptr_t)at, n, *crc, 0, &value);
		if (status != CALLGATE_OK)
			break;
		*crc = (uint32_t)value;
		at += n;
		count -= n;
	}
	return status;
}

/* Nanoseconds since power-on, in 32-bit code, too. 0: not now. */
static inline uint64_t callgate_now(void)
{
	uint64_t value = 0;
	callgate_call(CALLGATE_NOW, (uintptr_t)&value, 0, 0, 0, 0);
	return value;
}

/*
 * The machine as it is now, to come back to: 0 the first time, and then what callgate_restore() was given, as setjmp. Everything is as it
 * was, registers and all memory, so nothing needs to be volatile; only what callgate_restore() hands over is new, and the test's input.
 */
static inline uint32_t callgate_snapshot(uint32_t slot, uint32_t *returned)
{
	uint64_t value = 0;
	uint32_t status = callgate_call(CALLGATE_SNAPSHOT, slot, 0, 0, 0, &value);
	*returned = (uint32_t)value;
	return status;
}
/* Returns only when there is nothing to go back to. `value` is not 0. */
static inline uint32_t callgate_restore(uint32_t slot, uint32_t value) { return callgate_call(CALLGATE_RESTORE, slot, value, 0, 0, 0); }

#ifdef __x86_64__
/* What HOOK wants to know of a function's bytes: FNV-1a. */
static inline uint64_t callgate_hash(const void *bytes, uintptr_t count)
{
	const unsigned char *at = (const unsigned char *)bytes;
	uint64_t hash = 0xCBF29CE484222325ull;
	while (count-- != 0)
		hash = (hash ^ *at++) * 0x100000001B3ull;
	return hash;
}

/* From now on the function is executed as one instruction, while its bytes stay as they are. */
static inline uint32_t callgate_hook(const void *function, uint32_t kind, uintptr_t bytes, uint64_t detail1, uint64_t detail2, uint64_t *slot)
{
	return callgate_call6(CALLGATE_HOOK, (uintptr_t)function, kind, bytes, callgate_hash(function, bytes), detail1, detail2, slot);
}
#endif

static inline void callgate_exit(uint32_t code) { callgate_call(CALLGATE_EXIT, code, 0, 0, 0, 0); }

#ifdef __x86_64__
/* A delay without spinning; `until` is a time of callgate_now(). */
static inline uint32_t callgate_skip(uint64_t until)
{
	uint32_t status;
	do
		status = callgate_call(CALLGATE_SKIP, until, 0, 0, 0, 0);
	while (status == CALLGATE_EAGAIN);
	return status;
}
#endif

#endif
