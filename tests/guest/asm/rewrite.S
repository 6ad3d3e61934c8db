# Rewrites a function in front of some calls, calls it through a register, and switches the machine off.
.include "guest.inc"
main:
  mov $400, %esi
again:
  mov $function, %eax
  call *%eax
  add %eax, sum
  test $0x3F, %esi
  jnz 1f
  incl function + 1           # the immediate
1:
  dec %esi
  jnz again
  mov $PM1A_CONTROL, %edx
  mov $SLEEP_ENABLE, %eax
  out %ax, %dx
  cli
  hlt
.data
.align 4096
function:
  mov $1, %eax
  ret
.bss
sum: .skip 4
