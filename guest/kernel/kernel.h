/*
 * A minimal kernel that does everything of Callgate's port both ways: by the port, and natively. Its command line:
 *   way=native|port|mixed   how the workload does what it does; its result is the same
 *   test=conformance        every call with right and wrong arguments, checked
 *   test=fuzz seed=N calls=N  random calls; ends well whatever they answer
 *   test=target             inputs of the test into a parser, one after the other, from one SNAPSHOT
 *   cpus=N                  start so many processors
 *   test=bench what=X count=N  one thing over and over (bench.c)
 *   testinput               read a line of the test's input (by the port)
 *   input                   read a line from the console, too
 */
#ifndef KERNEL_H
#define KERNEL_H
#include <callgate.h>
#include <stddef.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define MOST_CPUS 8
#define CODE64 0x08
#define DATA 0x10
#define USER_CODE 0x23
#define USER_DATA 0x2B
#define TLS_FIRST 6 /* index in the GDT */
#define LDT_SELECTOR 0x50
#define TSS_SELECTOR 0x60

#define VECTOR_LLDT 0x50
#define VECTOR_REPORT 0x51
#define VECTOR_FLUSH 0x52
#define VECTOR_PING 0x53
#define VECTOR_TIMER 0x54
#define VECTOR_CONSOLE 0x55
#define VECTOR_USER 0x60

struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error, rip, cs, flags, rsp, ss;
};

/* One processor's; GS is not used, they find themselves by their APIC's number. */
struct cpu {
	u64 gdt[16];
	struct {
		u32 reserved0;
		u64 rsp0, rsp1, rsp2, reserved1, ist[7], reserved2;
		u16 reserved3, io_map;
	} __attribute__((packed)) tss;
	volatile u32 started, pings, timers, flushes, console_interrupts;
	volatile u64 fixup; /* where the next fault goes on */
	volatile u32 fault; /* its vector */
	/* what a report found */
	volatile u32 reports, ldts;
	volatile u64 ldt_selector, ldt_limit, seen;
	volatile u32 wait_for_kick, kicked;
	u8 stack[16384] __attribute__((aligned(16)));
};
extern struct cpu cpus[MOST_CPUS];
extern unsigned cpu_count;
extern const char *command_line;
extern u8 page_tables[], interrupt_entries[], trampoline[], trampoline_end[];
extern u64 other_stack;

/* boot.S: functions to hook, and their ends */
extern u8 clear_page_end[], copy_page_end[], copy_bytes_end[], fill_bytes_end[], wait_ticks_end[];
void clear_page(void *to);
void copy_page(void *to, const void *from);
void *copy_bytes(void *to, const void *from, u64 count);
void *fill_bytes(void *to, int byte, u64 count);
void wait_ticks(u64 ticks);

/* main.c */
unsigned this_cpu(void);
int option(const char *name);           /* the word is on the command line */
u64 number_of(const char *name, u64 otherwise); /* "name=N" */
void fail(const char *what, u64 value) __attribute__((noreturn));
void stop(unsigned good) __attribute__((noreturn));
void print(const char *text);
void print_number(const char *name, u64 value);
void uart_write(const char *bytes, u64 count);
void apic_write(u32 offset, u32 value);
u32 apic_read(u32 offset);
void send_ipi(unsigned cpu, u8 vector);
void start_others(void);
void load_tables(unsigned index);
void other_main(void);
void interrupt(struct frame *f);
void run_user(void (*function)(void), void *stack, u64 flags);
extern u8 user_done[];
void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n);

/* workload.c, conformance.c, snapshot.c, fuzz.c */
extern int eoi_by_port;
extern volatile u64 lldt_base, lldt_size;
int by_port(void);
void workload(void);
void conformance(void);
void want(const char *what, u32 got, u32 expected);
void snapshots(void);
void target(void);
void fuzz(void);
void bench(void);

static inline u64 rdtsc(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}
static inline u64 rdmsr(u32 index)
{
	u32 low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (u64)high << 32 | low;
}
static inline void wrmsr(u32 index, u64 value)
{
	__asm__ volatile("wrmsr" ::"a"((u32)value), "d"((u32)(value >> 32)), "c"(index) : "memory");
}
static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 inb(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline u64 read_cr3(void)
{
	u64 value;
	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}
static inline void write_cr3(u64 value) { __asm__ volatile("mov %0, %%cr3" ::"r"(value) : "memory"); }
#endif
