# Anyone may look. A token is optional, but must be valid.
curl -i "$API/catalog"                                                              # 200
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api")
curl -i -H "Authorization: Bearer $TOKEN" "$API/catalog"                            # 200
curl -i -w '\n' -H "Authorization: Bearer no.such.token" "$API/catalog"             # 401

# The API requires a token; some routes require more scopes.
curl -i -w '\n' "$API/api/orders"                                                   # 401
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/orders"                 # 200
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" --json '{"item":"tea"}' "$API/api/orders" # 403
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api+orders:write")
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" --json '{"item":"tea"}' "$API/api/orders" # 201

# A token for a single invoice, and nothing afterwards.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api+invoices")
curl -i -H "Authorization: Bearer $TOKEN" "$API/api/invoice"                        # 200
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/invoice"                # 401
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/orders"                 # 401

# Three quotes; an item that isn't for sale doesn't count.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api")
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/quote/rum"              # 404
curl -i -H "Authorization: Bearer $TOKEN" "$API/api/quote/tea"                      # 200
curl -i -H "Authorization: Bearer $TOKEN" "$API/api/quote/tea"                      # 200
curl -i -H "Authorization: Bearer $TOKEN" "$API/api/quote/tea"                      # 200
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/quote/tea"              # 401

# A report: once it is received in full, the token is dead.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api")
curl -i -H "Authorization: Bearer $TOKEN" "$API/api/report?rows=3"                  # 200
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/report?rows=3"          # 401

# A link for one download: a preview doesn't spend it, half a download does.
LINK="$API/download?access_token=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=download")"
curl -sI "$LINK"                                                                    # 200
curl -s -D - -o export.bin "$LINK"                                                     # 200
curl -i -w '\n' -H "Range: bytes=25000000-" "$LINK"                                 # 401

# 100 calls at once with a single-use token: one 200, 99 times 401.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api+invoices")
curl --no-progress-meter -Z -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $TOKEN" "$API/api/invoice?[1-100]" | sort | uniq -c

# Events by a ticket, which stands for the token in a URL, once. It ends with the token.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=ann&scope=api")
TICKET=$(curl -s -X POST -H "Authorization: Bearer $TOKEN" "$API/api/tickets")
curl -iN --no-progress-meter -m 1 "$API/events?access_token=$TICKET" 2>/dev/null                     # 200
curl -i -w '\n' "$API/events?access_token=$TICKET"                                  # 401
curl -i -w '\n' "$API/events?access_token=$TOKEN"                                   # 401

# Events, until the token ends. Bob logs out on all his devices, and they stop.
TOKEN=$(curl -s -X POST "$ISSUER/token?subject=bob&scope=api")
curl -sN -H "Authorization: Bearer $TOKEN" "$API/api/events" &
sleep 3
curl -i -H "Authorization: Bearer $TOKEN" -X POST "$API/api/log-out-everywhere"     # 204
wait
curl -i -w '\n' -H "Authorization: Bearer $TOKEN" "$API/api/orders"                 # 401
