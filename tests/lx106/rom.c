/* Arithmetic that the compiler calls for: in the chip it lives in the ROM, and libgcc for the lx106 lacks it (F35). */
#include <stdint.h>

uint32_t __udivsi3(uint32_t a, uint32_t b);
uint32_t __umodsi3(uint32_t a, uint32_t b);
int32_t __divsi3(int32_t a, int32_t b);
int32_t __modsi3(int32_t a, int32_t b);
uint64_t __umulsidi3(uint32_t a, uint32_t b);
uint64_t __muldi3(uint64_t a, uint64_t b);

union pair { uint64_t whole; struct { uint32_t low, high; } half; };

static uint32_t divide(uint32_t a, uint32_t b, uint32_t *rest)
{
	uint32_t quotient = 0, remainder = 0;

	for (int i = 31; i >= 0; i--) {
		remainder = remainder << 1 | (a >> i & 1);
		if (remainder >= b) {
			remainder -= b;
			quotient |= (uint32_t)1 << i;
		}
	}
	*rest = remainder;
	return quotient;
}

uint32_t __udivsi3(uint32_t a, uint32_t b)
{
	uint32_t rest;

	return divide(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b)
{
	uint32_t rest;

	divide(a, b, &rest);
	return rest;
}

static uint32_t magnitude(int32_t a)
{
	return a < 0 ? 0 - (uint32_t)a : (uint32_t)a;
}

int32_t __divsi3(int32_t a, int32_t b)
{
	uint32_t quotient = __udivsi3(magnitude(a), magnitude(b));

	return (int32_t)((a < 0) != (b < 0) ? 0 - quotient : quotient);
}

int32_t __modsi3(int32_t a, int32_t b)
{
	uint32_t rest = __umodsi3(magnitude(a), magnitude(b));

	return (int32_t)(a < 0 ? 0 - rest : rest);
}

/* The CPU multiplies 32 by 32 bits and keeps the lower 32: four products of halves make all 64. */
uint64_t __umulsidi3(uint32_t a, uint32_t b)
{
	uint32_t low = (a & 0xFFFF) * (b & 0xFFFF), high = (a >> 16) * (b >> 16);
	uint32_t first = (a >> 16) * (b & 0xFFFF), second = (a & 0xFFFF) * (b >> 16);
	uint32_t middle = (low >> 16) + (first & 0xFFFF) + (second & 0xFFFF);
	union pair out = { .half = { middle << 16 | (low & 0xFFFF), high + (first >> 16) + (second >> 16) + (middle >> 16) } };

	return out.whole;
}

uint64_t __muldi3(uint64_t a, uint64_t b)
{
	union pair x = { a }, y = { b }, out = { __umulsidi3(x.half.low, y.half.low) };

	out.half.high += x.half.low * y.half.high + x.half.high * y.half.low;
	return out.whole;
}
