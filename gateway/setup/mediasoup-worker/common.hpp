// What nearly all of the worker's own files include; see the Makefile.
#include "Logger.hpp"
#include "MediaSoupErrors.hpp"
#include "RTC/RTP/Packet.hpp"
#include "Utils.hpp"
#include <map>
#include <string>
#include <vector>
