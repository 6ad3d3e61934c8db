# A line on COM1, another on the debug console, and off.
.include "guest.inc"
main:
  mov $on_serial, %esi
next:
  lodsb
  test %al, %al
  jz serial_done
  put_serial
  jmp next
serial_done:
  mov $on_debug_console, %esi
  mov $DEBUG_CONSOLE, %edx
  mov $debug_end - on_debug_console, %ecx
  cld
  rep outsb
  mov $PM1A_CONTROL, %edx
  mov $SLEEP_ENABLE, %eax
  out %ax, %dx
  hlt
.data
on_serial: .asciz "hello from COM1\n"
on_debug_console: .ascii "hello from port 0xe9\n"
debug_end:
