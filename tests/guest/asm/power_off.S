# Switches the machine off by ACPI's PM1a control register.
.include "guest.inc"
main:
  mov $PM1A_CONTROL, %edx
  mov $SLEEP_ENABLE, %eax
  out %ax, %dx
  cli
  hlt
