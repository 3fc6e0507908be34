/* How far functions of math.h are from the truth, in units of the last place.
 *
 * `ulp results` writes what each function gives for many arguments, as doubles. `ulp check` reads that, computes the
 * same by its own long double functions, which have eleven more bits, and prints `NAME ULP ARGUMENTS` for each
 * function: the worst of all. The first runs with the library that is judged, in the sandbox or natively, the
 * second natively with another one.
 *
 * Build with -lm -fno-builtin -ffp-contract=off, and -DCOUNT=400000 for more arguments than in a test. Results
 * below the normal numbers are judged in units of the smallest number there is. `lgamma` is judged for positive
 * arguments only, since near its zeros among the negative ones no error in such units means anything, and `acosh`,
 * which below -1 is not defined, too.
 */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifndef COUNT
#define COUNT 20000
#endif

static uint64_t state;

static uint64_t random_bits(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* From -1 to 1. */
static double unit(void)
{
	return (double)(int64_t)random_bits() * 0x1p-63;
}

/* A number of any size: all bits are random. */
static double any(void)
{
	for (;;) {
		uint64_t bits = random_bits();
		double number;
		memcpy(&number, &bits, sizeof number);
		if (isfinite(number))
			return number;
	}
}

static const double SPECIAL[] = {
	0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, 10.0, 100.0, 0x1p-1022, 0x1p-1074, 0x1p1023, DBL_MAX, -DBL_MAX,
	DBL_EPSILON, 1.0 + DBL_EPSILON, 1.0 - DBL_EPSILON / 2, 0x1.921fb54442d18p+0, 0x1.921fb54442d18p+1,
	0x1.921fb54442d18p+2, 0x1.6ac5b262ca1ffp+849, 0x1.62e42fefa39efp+9, -0x1.74910d52d3051p+9, 709.7, -745.1, 0.25,
	INFINITY, -INFINITY,
};

/* The argument number `index` of a function that is of interest up to `range`: special, up to that, near one, of
 * any size. */
static double argument(int index, double range)
{
	if ((size_t)index < sizeof SPECIAL / sizeof *SPECIAL)
		return SPECIAL[index];
	switch (index % 4) {
	case 0:
		return 1.0 + unit() * 0x1p-6;
	case 1:
		return any();
	default:
		return unit() * range;
	}
}

typedef struct {
	const char *name;
	/* Arguments of special interest; of powers, of the second one. */
	double range, second;
	/* Bits of the result. */
	int bits;
	double (*result)(double, double);
	long double (*truth)(double, double);
} Function;

#define ONE(name) \
	static double result_##name(double x, double y) { (void)y; return name(x); } \
	static long double truth_##name(double x, double y) { (void)y; return name##l(x); } \
	static double result_##name##f(double x, double y) { (void)y; return name##f((float)x); } \
	static long double truth_##name##f(double x, double y) { (void)y; return name##l((float)x); }
#define POSITIVE(name) \
	static double result_##name(double x, double y) { (void)y; return name(fabs(x)); } \
	static long double truth_##name(double x, double y) { (void)y; return name##l(fabs(x)); } \
	static double result_##name##f(double x, double y) { (void)y; return name##f(fabsf((float)x)); } \
	static long double truth_##name##f(double x, double y) { (void)y; return name##l(fabsf((float)x)); }
#define TWO(name) \
	static double result_##name(double x, double y) { return name(x, y); } \
	static long double truth_##name(double x, double y) { return name##l(x, y); } \
	static double result_##name##f(double x, double y) { return name##f((float)x, (float)y); } \
	static long double truth_##name##f(double x, double y) { return name##l((float)x, (float)y); }

ONE(sin) ONE(cos) ONE(tan) ONE(asin) ONE(acos) ONE(atan) TWO(atan2)
ONE(sinh) ONE(cosh) ONE(tanh) ONE(asinh) POSITIVE(acosh) ONE(atanh)
ONE(exp) ONE(exp2) ONE(expm1) ONE(log) ONE(log2) ONE(log10) ONE(log1p) TWO(pow)
ONE(sqrt) ONE(cbrt) TWO(hypot) ONE(erf) ONE(erfc) ONE(tgamma) POSITIVE(lgamma)
TWO(fmod) TWO(remainder) TWO(fdim) ONE(floor) ONE(ceil) ONE(trunc) ONE(round) ONE(rint) ONE(nearbyint) ONE(logb)

#define OF(name, range, second) \
	{ #name, range, second, 53, result_##name, truth_##name }, \
	{ #name "f", range, second, 24, result_##name##f, truth_##name##f }

static const Function FUNCTIONS[] = {
	OF(sin, 100, 0), OF(cos, 100, 0), OF(tan, 100, 0), OF(asin, 1, 0), OF(acos, 1, 0), OF(atan, 10, 0),
	OF(atan2, 10, 10), OF(sinh, 20, 0), OF(cosh, 20, 0), OF(tanh, 5, 0), OF(asinh, 10, 0), OF(acosh, 10, 0),
	OF(atanh, 1, 0), OF(exp, 700, 0), OF(exp2, 1000, 0), OF(expm1, 50, 0), OF(log, 1000, 0), OF(log2, 1000, 0),
	OF(log10, 1000, 0), OF(log1p, 1, 0), OF(pow, 100, 100), OF(sqrt, 1000, 0), OF(cbrt, 1000, 0),
	OF(hypot, 1000, 1000), OF(erf, 5, 0), OF(erfc, 25, 0), OF(tgamma, 170, 0), OF(lgamma, 100, 0),
	OF(fmod, 1e6, 100), OF(remainder, 1e6, 100), OF(fdim, 100, 100), OF(floor, 1e6, 0), OF(ceil, 1e6, 0),
	OF(trunc, 1e6, 0), OF(round, 1e6, 0), OF(rint, 1e6, 0), OF(nearbyint, 1e6, 0), OF(logb, 1000, 0),
};
enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof *FUNCTIONS };

/* How far a result is from the truth, in units of the last place of `bits` bits. */
static double distance(double result, long double truth, int bits)
{
	int least = bits == 53 ? -1022 : -126, most = bits == 53 ? 1024 : 128;
	double rounded = bits == 53 ? (double)truth : (double)(float)truth;
	if (isnan(truth) || isnan(result))
		return isnan(truth) && isnan(result) ? 0 : INFINITY;
	if (result == rounded && (isinf(result) || result == truth))
		return signbit(result) == signbit(rounded) ? 0 : INFINITY;
	if (isinf(truth))
		return INFINITY;
	/* What is too large counts as the number that would come behind the largest. */
	long double given = isinf(result) ? copysignl(ldexpl(1, most), result) : (long double)result;
	int exponent = truth == 0 ? least : ilogbl(truth);
	return fabsl(given - truth) / ldexpl(1, (exponent < least ? least : exponent) + 1 - bits);
}

int main(int count, char **arguments)
{
	int check = count == 2 && strcmp(arguments[1], "check") == 0;
	if (!check && !(count == 2 && strcmp(arguments[1], "results") == 0)) {
		fprintf(stderr, "ulp: expected `results` or `check`\n");
		return 2;
	}
	for (int number = 0; number < FUNCTION_COUNT; number++) {
		const Function *function = &FUNCTIONS[number];
		double worst = 0, worst_x = 0, worst_y = 0;
		state = 0x9e3779b97f4a7c15 + (uint64_t)number;
		for (int index = 0; index < COUNT; index++) {
			double x = argument(index, function->range), y = argument((index * 7 + 3) % COUNT, function->second);
			double result;
			if (!check) {
				result = function->result(x, y);
				if (fwrite(&result, sizeof result, 1, stdout) != 1)
					return 1;
				continue;
			}
			if (fread(&result, sizeof result, 1, stdin) != 1) {
				fprintf(stderr, "ulp: there are fewer results than arguments\n");
				return 1;
			}
			double away = distance(result, function->truth(x, y), function->bits);
			if (away > worst) {
				worst = away;
				worst_x = x;
				worst_y = y;
			}
		}
		if (check)
			printf("%s %.3f %a %a\n", function->name, worst, worst_x, worst_y);
	}
	return fflush(stdout) != 0;
}
