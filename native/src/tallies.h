// What is carried out below JavaScript is counted in tallies, which src/io/tallies.ts reads: four numbers each.
#pragma once
#include <cstdint>

enum Counter { ios, ioBytes, underWayNow, returned, counterCount };

inline void countIn(double* tallies, uint32_t tallyAt, Counter counter, double by) {
  tallies[counterCount * tallyAt + counter] += by;
}
