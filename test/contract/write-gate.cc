// What a write gate lets begin, with a disk that ends what it has as each case says. Prints a line for each case.
#include "../../native/src/write-gate.h"

#include <cstdio>
#include <functional>
#include <vector>

namespace {

using Slots = std::vector<uint32_t>;

/// One primary's gate, and its disk.
class Bench {
 public:
  /// So many writes come at once; those that begin.
  Slots come(unsigned count) {
    ++round_;
    Slots begun;
    for (unsigned i = 0; i < count; ++i) {
      gate_.add(slots_++);
      begin(begun);
    }
    return begun;
  }
  void copies(unsigned count) {
    ++round_;
    copies_ += count;
    while (count-- > 0) gate_.begun(round_, false);
  }
  /// So many end at the disk and are looked at, and the primary's are answered; those that begin then.
  Slots end(unsigned primaries, unsigned copies) {
    primaries_ -= primaries;
    copies_ -= copies;
    for (unsigned i = 0; i < primaries; ++i) gate_.ended(true);
    for (unsigned i = 0; i < copies; ++i) gate_.ended(false);
    gate_.looked();
    ++round_;
    Slots begun;
    begin(begun);
    for (unsigned i = 0; i < primaries; ++i) gate_.answered();
    return begun;
  }
  Slots endAll() { return end(primaries_, copies_); }
  void remove(uint32_t slot) {
    gate_.remove(slot);
    gate_.answered();
  }
  /// The disk is given some at two times, and ends all together, or the older ones first.
  void show(unsigned times, bool isTogether) {
    while (times-- > 0) {
      come(4);
      copies(2);
      copies(1);
      if (!isTogether) end(1, 1);
      endAll();
      while (primaries_ > 0) endAll();
    }
  }
  uint32_t next() const { return slots_; }

 private:
  void begin(Slots& begun) {
    for (int64_t slot; (slot = gate_.next(round_)) >= 0;) {
      gate_.begun(round_, true);
      ++primaries_;
      begun.push_back(static_cast<uint32_t>(slot));
    }
  }

  WriteGate gate_;
  uint64_t round_ = 0;
  uint32_t slots_ = 0;
  unsigned primaries_ = 0, copies_ = 0;
};

bool allBegin(Bench& bench) {
  const uint32_t at = bench.next();
  const bool are = bench.come(2) == Slots{at, at + 1} && bench.come(2) == Slots{at + 2, at + 3};
  bench.endAll();
  bench.endAll();
  return are;
}
/// In a trial all begin; it ends with its group.
bool groupsAreMade(Bench& bench) { return !allBegin(bench) || !allBegin(bench); }

struct Case {
  const char* name;
  std::function<bool()> holds;
};
const Case cases[] = {
    {"a disk that has shown nothing is given all that comes",
     [] {
       Bench bench;
       return allBegin(bench) && bench.come(5).size() == 5;
     }},
    {"where all ends together half of what has come goes, and the rest once that has ended, in order",
     [] {
       Bench bench;
       bench.show(40, true);
       const uint32_t at = bench.next();
       return bench.come(4) == Slots{at, at + 1} && bench.come(2).empty() && bench.end(1, 0).empty() &&
              bench.end(1, 0) == Slots{at + 2, at + 3, at + 4} && bench.endAll() == Slots{at + 5} && bench.endAll().empty();
     }},
    {"one that comes alone begins at once",
     [] {
       Bench bench;
       bench.show(40, true);
       return bench.come(1).size() == 1 && bench.endAll().empty() && bench.come(1).size() == 1;
     }},
    {"what does not begin any more keeps nobody from it",
     [] {
       Bench bench;
       bench.show(40, true);
       const uint32_t at = bench.next();
       if (bench.come(1) != Slots{at} || !bench.come(3).empty()) return false;
       bench.remove(at + 1);
       return bench.endAll() == Slots{at + 2, at + 3} && bench.endAll().empty();
     }},
    {"copies do not wait, and nobody waits for them",
     [] {
       Bench bench;
       bench.show(40, true);
       bench.copies(3);
       const uint32_t at = bench.next();
       return bench.come(1) == Slots{at} && bench.come(1).empty() && bench.end(1, 0) == Slots{at + 1};
     }},
    {"a disk that ends the older ones first is given all that comes, whatever it showed before",
     [] {
       Bench bench;
       bench.show(200, true);
       if (!groupsAreMade(bench)) return false;
       bench.show(200, false);
       return allBegin(bench) && allBegin(bench);
     }},
    {"one that ends all together now and then only is of the first kind",
     [] {
       Bench bench;
       for (int i = 0; i < 500; ++i) {
         bench.show(2, true);
         bench.show(3, false);
       }
       return allBegin(bench) && allBegin(bench);
     }},
    {"where nobody asks for copies it is tried now and then what the disk does with all",
     [] {
       Bench bench;
       bench.show(100, true);
       unsigned trials = 0;
       for (int i = 0; i < 1280; ++i) {
         if (i % 3 == 0) {
           bench.come(1);
           bench.endAll();
         }
         bench.come(1);
         if (!bench.come(1).empty()) ++trials;
         bench.endAll();
         bench.endAll();
       }
       return trials >= 10 && trials <= 40;
     }},
};

}  // namespace

int main() {
  for (const Case& each : cases) printf("%s\t%s\n", each.holds() ? "ok" : "not ok", each.name);
}
