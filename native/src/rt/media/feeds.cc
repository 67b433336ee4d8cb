#include "feeds.h"

#include <algorithm>
#include <numeric>

namespace g4::rt {

Blocks blocks(const std::vector<std::int64_t>& places, std::int64_t length, std::int64_t count) {
  Blocks found;
  found.starts.resize(static_cast<std::size_t>(count));
  std::iota(found.starts.begin(), found.starts.end(), length);
  found.ends = found.starts;
  for (std::size_t first = 0, next; first < places.size(); first = next) {
    next = first + 1;
    while (next < places.size() && places[next] == places[next - 1] + 1) ++next;
    const std::int64_t start = places[first], stop = places[next - 1] + 1;
    std::fill(found.starts.begin() + start, found.starts.begin() + stop, length + start);
    std::fill(found.ends.begin() + start, found.ends.begin() + stop, length + stop - 1);
  }
  return found;
}

std::vector<Piece> pieces(const std::vector<std::int64_t>& ends, std::int64_t chunk) {
  const auto total = static_cast<std::int64_t>(ends.size());
  std::vector<Piece> found;
  for (std::int64_t start = 0, stop; start < total; start = stop) {
    stop = std::min(start + chunk, total);
    const std::int64_t end = ends[static_cast<std::size_t>(stop - 1)];
    if (end >= stop) {
      const std::int64_t first = std::lower_bound(ends.begin(), ends.end(), end) - ends.begin();
      stop = first > start ? first : end + 1;
    }
    found.push_back({start, stop});
  }
  return found;
}

}  // namespace g4::rt
