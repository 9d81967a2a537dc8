// libcrypto, for SHA-256 only (EVP_Digest(3)).
#pragma once
#include <openssl/evp.h>
