# Prints a letter on the debug console and pulses the processor's reset line through the keyboard controller.
.include "guest.inc"
main:
  mov $'R', %al
  out %al, $DEBUG_CONSOLE
  mov $0xFE, %al
  out %al, $0x64
  cli
  hlt
