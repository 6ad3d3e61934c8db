# The way into 64-bit mode: from a Multiboot 1 loader for the first processor, from a start-up IPI for the others. Then the
# interrupt entries. Ref: The Multiboot Specification version 0.6.96; SDM 3A, Initializing IA-32e Mode.
.set CODE64, 0x08
.set DATA, 0x10
.set CODE32, 0x18

.section .multiboot, "ax"
.align 4
.long 0x1BADB002, 0, -0x1BADB002

.text
.code32
.globl start
start:
  cli
  lgdt boot_gdtr
  mov $first_stack_top, %esp
  mov %ebx, multiboot_info
  # Four GiB mapped to themselves with pages of 2 MiB, for everybody.
  mov $page_tables, %edi
  lea 0x1000 + 7(%edi), %eax
  mov %eax, (%edi)
  xor %ecx, %ecx
1: lea 0x2000 + 7(%edi), %eax
  mov %ecx, %edx
  shl $12, %edx
  add %edx, %eax
  mov %eax, 0x1000(%edi, %ecx, 8)
  inc %ecx
  cmp $4, %ecx
  jne 1b
  xor %ecx, %ecx
1: mov %ecx, %eax
  shl $21, %eax
  or $0x87, %eax
  mov %eax, 0x2000(%edi, %ecx, 8)
  inc %ecx
  cmp $2048, %ecx
  jne 1b
  mov $kernel_main, %esi

# esi: where to go on, esp: the stack.
to_long_mode:
  mov %cr4, %eax
  or $0x6A0, %eax                # PAE, PGE, OSFXSR, OSXMMEXCPT
  mov %eax, %cr4
  mov $page_tables, %eax
  mov %eax, %cr3
  mov $0xC0000080, %ecx          # EFER
  rdmsr
  or $0x101, %eax                # LME, SCE
  wrmsr
  mov $0x80010033, %eax          # PG, WP, NE, ET, MP, PE
  mov %eax, %cr0
  ljmp $CODE64, $1f
.code64
1: mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov %esp, %esp
  mov %esi, %esi
  call *%rsi
1: hlt
  jmp 1b

# Copied to 0x8000.
.globl trampoline, trampoline_end
.code16
trampoline:
  cli
  xor %ax, %ax
  mov %ax, %ds
  lgdtl 0x8000 + trampoline_gdtr - trampoline
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $CODE32, $other_start
.align 4
trampoline_gdtr:
  .word 0x1F
  .long boot_gdt
trampoline_end:
.code32
other_start:
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov other_stack, %esp
  mov $other_main, %esi
  jmp to_long_mode

# --- interrupts: a table of 256 entries of 16 bytes, all of which come to interrupt() with the registers in a struct frame
.code64
.align 16
.globl interrupt_entries
interrupt_entries:
.set vector, 0
.rept 256
.align 16
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
  push $0
  .endif
  push $vector
  jmp common_entry
.set vector, vector + 1
.endr
.align 16
common_entry:
  push %rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi; push %rbp
  push %r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15
  mov %rsp, %rdi
  cld
  call interrupt
  pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
  pop %rbp; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx; pop %rax
  add $16, %rsp
  iretq

# run_user(function, stack, flags): calls it in ring 3; it comes back by INT 60h, whose handler jumps to user_done.
.globl run_user, user_done
run_user:
  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
  mov %rsp, user_return_stack
  mov $0x2B, %eax                # data of ring 3
  mov %eax, %ds
  mov %eax, %es
  push $0x2B
  push %rsi
  push %rdx
  push $0x23                     # code of ring 3
  push %rdi
  iretq
user_done:
  mov user_return_stack, %rsp
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
  ret

# Functions to hook (paravirt/ABI.md, group 7), as kernels have them.
.globl clear_page, clear_page_end, copy_page, copy_page_end, copy_bytes, copy_bytes_end, fill_bytes, fill_bytes_end, wait_ticks, wait_ticks_end
.align 16
clear_page:
  mov $4096, %ecx
  xor %eax, %eax
  rep stosb
  ret
clear_page_end:
.align 16
copy_page:
  mov $512, %ecx
  rep movsq
  ret
copy_page_end:
.align 16
copy_bytes:
  mov %rdi, %rax
  mov %rdx, %rcx
  rep movsb
  ret
copy_bytes_end:
.align 16
fill_bytes:
  mov %rdi, %r9
  mov %esi, %eax
  mov %rdx, %rcx
  rep stosb
  mov %r9, %rax
  ret
fill_bytes_end:
.align 16
wait_ticks:
  rdtsc
  shl $32, %rdx
  lea (%rdx, %rax), %rsi
1: pause
  rdtsc
  shl $32, %rdx
  add %rdx, %rax
  sub %rsi, %rax
  cmp %rdi, %rax
  jb 1b
  ret
wait_ticks_end:

.data
.align 8
boot_gdt:
  .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
boot_gdtr:
  .word 0x1F
  .long boot_gdt
.globl multiboot_info, other_stack
multiboot_info: .quad 0
other_stack: .quad 0
user_return_stack: .quad 0

.bss
.align 4096
.globl page_tables
page_tables: .skip 4096 * 6
.skip 16384
first_stack_top:

.section .note.GNU-stack, "", @progbits
