/*
 * Tells SimCourier that a simulation has ended, with rabbitmq-c (Debian: librabbitmq-dev).
 *
 *     gcc -O2 -Wall -Wextra -o publish publish.c -lrabbitmq
 *     SIMCOURIER_BROKER_URL=amqp://USER:PASSWORD@HOST/VHOST ./publish /srv/results/run7 anna@example.org local "rho = 0.8" 0
 *
 * The default vhost is written as /%2F. Exit code 0: the broker has the event durably; 1: it has not, and standard error
 * says why; 2: wrong use. There is no spool here: if the broker is away, try again later with the same event.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CHANNEL = 1, FRAME_MAX = 131072, SECONDS = 10, LONGEST = 65536 };

static void give_up(const char *what, const char *why) {
    fprintf(stderr, "publish: %s: %s\n", what, why);
    exit(1);
}

/* Appends formatted text to a buffer of LONGEST bytes. */
static void add(char *buffer, const char *text) {
    if (strlen(buffer) + strlen(text) >= LONGEST) give_up("the event", "is too long");
    strcat(buffer, text);
}

/* Appends a JSON string. */
static void add_string(char *buffer, const char *text) {
    char escaped[8];
    add(buffer, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", byte);
        else if (byte < 0x20)
            snprintf(escaped, sizeof escaped, "\\u%04x", byte);
        else
            snprintf(escaped, sizeof escaped, "%c", byte);
        add(buffer, escaped);
    }
    add(buffer, "\"");
}

/* Appends a file: URL, in which all but letters, digits and a few signs is percent-encoded. */
static void add_url(char *buffer, const char *path) {
    char encoded[8];
    add(buffer, "\"file://");
    for (; *path; path++) {
        unsigned char byte = (unsigned char)*path;
        snprintf(encoded, sizeof encoded, isalnum(byte) || strchr("/-._~", byte) ? "%c" : "%%%02X", byte);
        add(buffer, encoded);
    }
    add(buffer, "\"");
}

static void new_uuid(char uuid[37]) {
    FILE *kernel = fopen("/proc/sys/kernel/random/uuid", "r");
    if (!kernel || !fgets(uuid, 37, kernel)) give_up("a new UUID", "the kernel gives none");
    fclose(kernel);
}

static void expect(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) give_up(what, amqp_error_string2(reply.library_error));
    amqp_bytes_t text = reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD
                            ? ((amqp_connection_close_t *)reply.reply.decoded)->reply_text
                            : ((amqp_channel_close_t *)reply.reply.decoded)->reply_text;
    char why[300];
    snprintf(why, sizeof why, "%.*s", (int)text.len, (char *)text.bytes);
    give_up(what, why);
}

/* Waits for the broker's word on the one message that was published. */
static void wait_for_confirm(amqp_connection_state_t connection) {
    struct timeval patience = {SECONDS, 0};
    amqp_frame_t frame;
    int returned = 0;
    for (;;) {
        int status = amqp_simple_wait_frame_noblock(connection, &frame, &patience);
        if (status != AMQP_STATUS_OK) give_up("waiting for the broker's confirm", amqp_error_string2(status));
        if (frame.frame_type != AMQP_FRAME_METHOD) continue; /* header and body of a message that came back */
        switch (frame.payload.method.id) {
        case AMQP_BASIC_RETURN_METHOD:
            returned = 1;
            break;
        case AMQP_BASIC_ACK_METHOD:
            if (returned) give_up("the broker", "no queue took the event; was a worker ever started?");
            return;
        case AMQP_BASIC_NACK_METHOD:
            give_up("the broker", "did not accept the event; try again later");
            break;
        case AMQP_CHANNEL_CLOSE_METHOD: {
            amqp_channel_close_t *closed = frame.payload.method.decoded;
            char why[300];
            snprintf(why, sizeof why, "%.*s", (int)closed->reply_text.len, (char *)closed->reply_text.bytes);
            give_up("the broker", why);
        }
        }
    }
}

int main(int count, char **words) {
    const char *address = getenv("SIMCOURIER_BROKER_URL"), *prefix = getenv("SIMCOURIER_BROKER_PREFIX");
    if (count != 6 || !address || words[1][0] != '/') {
        fprintf(stderr, "usage: SIMCOURIER_BROKER_URL=amqp://... publish /RESULTS A@B BACKEND TITLE EXIT_CODE\n");
        return 2;
    }
    const char *results = words[1], *to = words[2], *backend = words[3], *title = words[4];
    int exit_code = atoi(words[5]);

    /* The event; docs/messages.md describes its fields. */
    static char body[LONGEST];
    char id[37], now[32], host[256] = "", number[16], exchange[100];
    time_t seconds = time(NULL);
    new_uuid(id);
    gethostname(host, sizeof host - 1);
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime(&seconds));
    snprintf(number, sizeof number, "%d", exit_code);
    add(body, "{\"specversion\": \"1.0\", \"type\": \"simcourier.simulation.completed.v1\", \"id\": ");
    add_string(body, id);
    add(body, ", \"source\": \"/examples/c/publish\", \"time\": ");
    add_string(body, now);
    add(body, ", \"data\": {\"simulation_id\": ");
    add_string(body, title);
    add(body, ", \"title\": ");
    add_string(body, title);
    add(body, ", \"outcome\": ");
    add_string(body, exit_code ? "failed" : "succeeded");
    add(body, ", \"exit_code\": ");
    add(body, number);
    add(body, ", \"finished\": ");
    add_string(body, now);
    add(body, ", \"host\": ");
    add_string(body, host);
    add(body, ", \"results\": {\"location\": ");
    add_url(body, results);
    add(body, "}, \"backend\": ");
    add_string(body, backend);
    add(body, ", \"recipients\": [");
    add_string(body, to);
    add(body, "]}}");

    struct amqp_connection_info info;
    char *url = strdup(address); /* taken apart in place; names the password, so it is never printed */
    amqp_default_connection_info(&info);
    if (amqp_parse_url(url, &info) != AMQP_STATUS_OK || info.ssl) give_up("SIMCOURIER_BROKER_URL", "amqp://... is expected");
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    struct timeval patience = {SECONDS, 0};
    int status = amqp_socket_open_noblock(socket, info.host, info.port, &patience);
    if (status != AMQP_STATUS_OK) give_up("the broker cannot be reached", amqp_error_string2(status));
    amqp_set_rpc_timeout(connection, &patience);
    expect(amqp_login(connection, info.vhost, 1, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, info.user, info.password),
           "the broker refuses the login");
    amqp_channel_open(connection, CHANNEL);
    expect(amqp_get_rpc_reply(connection), "opening a channel");
    amqp_confirm_select(connection, CHANNEL);
    expect(amqp_get_rpc_reply(connection), "asking for confirms");

    /* The broker compares user_id with the user that has logged in, and so vouches for who published. */
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                  AMQP_BASIC_USER_ID_FLAG,
        .content_type = amqp_cstring_bytes("application/cloudevents+json"),
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .message_id = amqp_cstring_bytes(id),
        .user_id = amqp_cstring_bytes(info.user),
    };
    snprintf(exchange, sizeof exchange, "%s.events.v1", prefix ? prefix : "simcourier");
    status = amqp_basic_publish(connection, CHANNEL, amqp_cstring_bytes(exchange),
                                amqp_cstring_bytes("simulation.completed.single"), 1 /* mandatory */, 0, &properties,
                                amqp_cstring_bytes(body));
    if (status != AMQP_STATUS_OK) give_up("publishing", amqp_error_string2(status));
    wait_for_confirm(connection);
    printf("%s\n", id);

    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
    free(url);
    return 0;
}
