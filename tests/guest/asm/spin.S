# Says that it is there, then counts for ever.
.include "guest.inc"
main:
  mov $'>', %al
  put_serial
  mov $'\n', %al
  put_serial
again:
  inc %eax
  mov %eax, counter
  jmp again
.bss
counter: .skip 4
