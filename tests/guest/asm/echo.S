# Sends every byte of COM1 back, in brackets. 'q' switches off. Polls: the count of instructions goes on while it waits.
.include "guest.inc"
main:
  mov $'>', %al
  put_serial
  mov $'\n', %al
  put_serial
wait:
  mov $COM1_LINE_STATUS, %edx
  in %dx, %al
  test $1, %al
  jz wait
  mov $COM1, %edx
  in %dx, %al
  mov %al, %bl
  mov $'[', %al
  put_serial
  mov %bl, %al
  put_serial
  mov $']', %al
  put_serial
  mov $'\n', %al
  put_serial
  cmp $'q', %bl
  jne wait
  mov $PM1A_CONTROL, %edx
  mov $SLEEP_ENABLE, %eax
  out %ax, %dx
  hlt
