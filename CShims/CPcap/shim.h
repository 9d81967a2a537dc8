// libpcap, for its filter language only (pcap-filter(7)): captures compile an expression once and run it per packet.
#include <pcap/pcap.h>
