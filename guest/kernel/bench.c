/* One thing, `count` times: what it costs is for the host to measure (docs/paravirt.md). */
#include "kernel.h"

static u8 text[1 << 20] __attribute__((aligned(4096)));

void bench(void)
{
	u64 count = number_of("count", 1000000), value;
	u32 a, b, c, d;
	callgate_hello(CALLGATE_F_ALL, &value);
	if (option("what=nothing"))
		for (u64 n = 0; n < count; n++)
			__asm__ volatile("" ::: "memory");
	else if (option("what=probe"))
		for (u64 n = 0; n < count; n++)
			callgate_call(CALLGATE_PROBE, 0, 0, 0, 0, &value);
	else if (option("what=now"))
		for (u64 n = 0; n < count; n++)
			callgate_call(CALLGATE_NOW, 0, 0, 0, 0, &value);
	else if (option("what=cpuid"))
		for (u64 n = 0; n < count; n++)
			__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
	else if (option("what=out"))
		for (u64 n = 0; n < count; n++)
			outb(0x80, 1);
	else if (option("what=msr"))
		for (u64 n = 0; n < count; n++)
			rdmsr(0xC0000103);
	else if (option("what=write")) { /* a MiB to the console */
		memset(text, '.', sizeof text);
		for (u64 n = 0; n < count; n++)
			if (option("way=port"))
				callgate_console_write(text, sizeof text);
			else
				uart_write((const char *)text, sizeof text);
	} else if (option("what=copy") || option("what=clear")) { /* functions, hooked when way=port */
		int clear = option("what=clear");
		u64 bytes = number_of("bytes", 64);
		if (option("way=port")) {
			callgate_hook((void *)copy_bytes, CALLGATE_MEMCPY_FUNCTION, (u64)copy_bytes_end - (u64)copy_bytes, 0, 0, &value);
			callgate_hook((void *)clear_page, CALLGATE_CLEAR_PAGE_FUNCTION, (u64)clear_page_end - (u64)clear_page, 0, 0, &value);
		}
		for (u64 n = 0; n < count; n++)
			if (clear)
				clear_page(text + (n & 127) * 4096);
			else
				copy_bytes(text, text + 8192, bytes);
	} else
		fail("what=nothing, probe, now, cpuid, out, msr, write, copy or clear", 0);
}
