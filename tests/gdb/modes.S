# A bare-metal kernel for debugger sessions: 32-bit code as a Multiboot loader enters it, down to 16-bit real mode, up again and
# on to 64-bit mode with paging, interrupts of the 8254, a fault, a request for the debugger, and power-off. It has symbols and
# line numbers, and does the same things in the same order every time.
# Assembled as 64-bit ELF, for GDB; a copy as 32-bit ELF is what boots.

.set PM1A_CONTROL, 0x604          # of the block that the FADT tells
.set SLEEP_ENABLE, 1 << 13
.set BREAK_PORT, 0x8A00
.set BREAK_REQUEST, 0x8AE0

.section .multiboot, "a"
.align 4
.long 0x1BADB002, 0, -0x1BADB002

# ---- 32 bits -----------------------------------------------------------------------------------------------------
.text
.code32
.globl start
start:
  mov $stack_top, %esp
  lgdt gdt_pointer
  ljmp $0x08, $reload32
reload32:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $32, %eax
  call remember
  ljmp $0x18, $protected16        # 16-bit protected mode on the way to real mode

.globl remember
remember:                         # counter += eax
  add %eax, counter
  ret

.globl back32
back32:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $stack_top, %esp
  # Identity mapping of the first GiB in 2 MiB pages.
  mov $page_directory, %edi
  mov $0x83, %eax
1: mov %eax, (%edi)
  movl $0, 4(%edi)
  add $0x200000, %eax
  add $8, %edi
  cmp $page_directory + 4096, %edi
  jne 1b
  movl $page_directory + 3, page_pointers
  movl $page_pointers + 3, page_root
  movl $page_pointers + 3, page_root + 8 * 256    # and again in the upper half
  mov $page_root, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x620, %eax                 # PAE, OSFXSR, OSXMMEXCPT
  mov %eax, %cr4
  mov $0xC0000080, %ecx           # EFER
  rdmsr
  or $0x100, %eax                 # LME
  wrmsr
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
.globl compatibility32
compatibility32:
  ljmp $0x28, $start64

# ---- 16 bits -----------------------------------------------------------------------------------------------------
.section .real, "awx"
.code16
.globl protected16
protected16:
  mov $0x20, %ax                  # real mode keeps what segments are, a 32-bit stack too
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov %cr0, %eax
  and $~1, %eax
  mov %eax, %cr0
  ljmp $0x0700, $(real16 - 0x7000)
.globl real16
real16:                           # CS is 0x700: IP is not the linear address
  mov $0x0100, %ax
  mov %ax, %ss
  mov $0x1000, %sp
  push %cs
  pop %ds
  addw $16, real_word - 0x7000
  call real_function
  mov %cr0, %eax
  or $1, %eax
  mov %eax, %cr0
  ljmpl $0x08, $back32
.globl real_function
real_function:
  mov $0x1616, %bx
  ret
.globl real_word
real_word: .word 0

# ---- 64 bits -----------------------------------------------------------------------------------------------------
.text
.code64
.globl start64
start64:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  movabs $high, %rax
  movabs $0xFFFF800000000000, %rbx
  add %rbx, %rax
  jmp *%rax                       # to the upper half
.globl high
high:
  lea stack_top(%rip), %rsp
  movaps vector(%rip), %xmm3
  mov $10, %ecx
.globl loop64
loop64:
  mov %ecx, %edi
  call work
  dec %ecx
  jnz loop64
.globl interrupts
interrupts:
  lea timer(%rip), %rdx
  mov $0x20, %edi
  call set_gate
  lea invalid_opcode(%rip), %rdx
  mov $6, %edi
  call set_gate
  lidt idt_pointer(%rip)
  mov $0x11, %al                  # both 8259s: vectors from 0x20, IRQ 0 alone is open
  out %al, $0x20
  mov $0x20, %al
  out %al, $0x21
  mov $4, %al
  out %al, $0x21
  mov $1, %al
  out %al, $0x21
  mov $0xFE, %al
  out %al, $0x21
  mov $0x34, %al                  # counter 0 of the 8254: mode 2, every 0x40 ticks of 838 ns
  out %al, $0x43
  mov $0x40, %al
  out %al, $0x40
  xor %al, %al
  out %al, $0x40
  sti
.globl busy
busy:
  incq spins(%rip)
  cmpl $20, ticks(%rip)
  jb busy
.globl enough
enough:
  cli
  ud2
.globl after_fault
after_fault:
  mov $BREAK_PORT, %edx
  mov $BREAK_REQUEST, %eax
  out %ax, %dx
.globl after_break
after_break:
  mov $PM1A_CONTROL, %edx
  mov $SLEEP_ENABLE, %eax
  out %ax, %dx
  hlt

.globl work
work:                             # result[edi] = edi * edi; total += that
  push %rbp
  mov %rsp, %rbp
  mov %edi, %eax
  imul %edi, %eax
  lea result(%rip), %rsi
  mov %eax, (%rsi,%rdi,4)
  add %eax, total(%rip)
  pop %rbp
  ret

set_gate:                         # vector edi leads to rdx
  lea idt(%rip), %rsi
  shl $4, %edi
  add %rdi, %rsi
  mov %dx, (%rsi)
  movw $0x28, 2(%rsi)
  movw $0x8E00, 4(%rsi)
  shr $16, %rdx
  mov %dx, 6(%rsi)
  shr $16, %rdx
  mov %edx, 8(%rsi)
  movl $0, 12(%rsi)
  ret

.globl timer
timer:
  push %rax
  incl ticks(%rip)
  mov $0x20, %al
  out %al, $0x20
  pop %rax
  iretq

.globl invalid_opcode
invalid_opcode:
  addq $2, (%rsp)                 # past the UD2
  iretq

# ---- data --------------------------------------------------------------------------------------------------------
.data
.align 16
vector: .long 1, 2, 3, 4
gdt:
  .quad 0
  .quad 0x00CF9A000000FFFF        # 08: 32-bit code
  .quad 0x00CF92000000FFFF        # 10: data
  .quad 0x00009A000000FFFF        # 18: 16-bit code
  .quad 0x000092000000FFFF        # 20: 16-bit data
  .quad 0x00AF9A000000FFFF        # 28: 64-bit code
gdt_pointer: .word . - gdt - 1
  .long gdt
idt_pointer: .word 0x2FF
  .quad 0xFFFF800000000000 + idt
.globl counter, total, spins, ticks, result
counter: .long 0
total: .long 0
spins: .quad 0
ticks: .long 0
.align 4
result: .skip 64

.bss
.align 4096
page_root: .skip 4096
page_pointers: .skip 4096
page_directory: .skip 4096
idt: .skip 0x300
.skip 4096
.globl stack_top
stack_top:
