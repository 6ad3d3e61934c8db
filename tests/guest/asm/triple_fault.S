# A data segment whose DPL forbids it in ring 3 is loaded with a broken IDT: #GP, #DF, shutdown. First it drops to ring 3 with
# a descriptor table of its own, so that the first fault has a reason worth telling.
.include "guest.inc"
main:
  lgdt gdt_pointer
  lidt idt_pointer
  mov $TSS_SELECTOR, %ax
  ltr %ax
  mov $0x23, %ax              # ring 3 data
  mov %ax, %ds
  push $0x23
  push $user_stack_top
  push $2
  push $0x1B                  # ring 3 code
  push $user
  iret
user:
  mov $0x28, %ax              # a data segment of ring 0
.globl the_fault
the_fault:
  mov %ax, %ds
  jmp .
.data
.align 8
gdt:
  .quad 0
  .quad 0x00CF9A000000FFFF    # 08 code, DPL 0
  .quad 0x00CF92000000FFFF    # 10 data, DPL 0
  .quad 0x00CFFA000000FFFF    # 18 code, DPL 3
  .quad 0x00CFF2000000FFFF    # 20 data, DPL 3
  .quad 0x00CF92000000FFFF    # 28 data, DPL 0
.set TSS_SELECTOR, . - gdt
  .word 103, 0x8000           # 30 TSS: base 0x8000, low memory that nothing else uses
  .byte 0, 0x89, 0, 0
gdt_pointer:
  .word . - gdt - 1
  .long gdt
idt_pointer:
  .word 0                     # not even one gate
  .long 0
.bss
.align 16
.skip 256
user_stack_top:
