// The Gregorian calendar as arithmetic on days. Knows no time zones and no leap seconds.
#pragma once

#include "base/types.h"

namespace callgate {

struct CivilDate {
  i64 year;
  unsigned month;  ///< 1 to 12
  unsigned day;    ///< 1 to 31
};

constexpr i64 floor_div(i64 a, i64 b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
constexpr i64 floor_mod(i64 a, i64 b) { return a - floor_div(a, b) * b; }

/// Days since 1970-01-01. A day past the month's end counts into the next month.
constexpr i64 days_from_civil(i64 year, unsigned month, unsigned day) {
  // Years begin in March here, so that the leap day is the last one.
  const i64 y = month <= 2 ? year - 1 : year;
  const i64 months_since_march = month <= 2 ? month + 9 : month - 3;
  const i64 day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
  return 365 * y + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) + day_of_year - 719468;
}

constexpr CivilDate civil_from_days(i64 days) {
  const i64 shifted = days + 719468;  // since 0000-03-01
  const i64 era = floor_div(shifted, 146097);
  const i64 day_of_era = shifted - era * 146097;
  const i64 year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const i64 day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const i64 m = (5 * day_of_year + 2) / 153;
  const unsigned month = static_cast<unsigned>(m < 10 ? m + 3 : m - 9);
  return {year_of_era + era * 400 + (month <= 2), month, static_cast<unsigned>(day_of_year - (153 * m + 2) / 5 + 1)};
}

/// 0 = Sunday.
constexpr unsigned weekday_from_days(i64 days) { return static_cast<unsigned>(floor_mod(days + 4, 7)); }

}  // namespace callgate
