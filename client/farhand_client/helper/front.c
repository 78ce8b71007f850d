/* farhand as it is on PATH: hands the command over to a waiting child of the helper, or executes the full program.
 *
 * The full program is a Python script beside this one, and takes a hundred times longer to start than this does. The
 * helper (farhand_client.helper) is a background process of the user that keeps it loaded and its connections open.
 * One message tells a child of the helper everything a process inherits: arguments, environment, standard files,
 * working directory. What is missing in it (limits, groups, namespaces, ignored signals) the child reads from
 * /proc/PID; it refuses where it is not the same there. The child then does the command's work on our files, and we
 * wait, hand signals on, and end as it ended.
 *
 * A command must never run twice. So a token, an eventfd that one reader only can empty, goes with the message: the
 * child takes it before it begins; if the child has not done so in time we take it, and the child may not begin any
 * more. Whoever has the token runs the command.
 *
 * Whatever is unusual here is no error: the full program is executed, as if there were no helper, with arguments,
 * environment, descriptors and signals as they were. After the child has begun there is no way back.
 *
 * The layout of the message is farhand_client.helper.handover's. Farhand's Python front does the same, and has the same
 * tests.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define VERSION 2
/* Milliseconds for a child to begin: many times what it takes, and hardly noticed where the helper hangs. */
#define CLAIM_TIMEOUT 100
/* And for its answer once it has begun: it comes at once unless somebody has stopped the child. */
#define ANSWER_TIMEOUT 10000
/* Bytes of a message: arguments and environment of nearly every command, and a third of what the socket takes at once
 * (net.core.wmem_default), so that sending never blocks. */
#define MAX_MESSAGE 65536
#define MAX_PATH 4096
#define EXIT_FAILURE_HERE 255

/* What a child says: it waits for the message; it has begun; it does not serve this command; SIGTSTP is for it from now
 * on, or no longer; stop this job by the signal that follows; exit with the code that follows, or die of the signal. */
enum { READY = 'A', BEGUN = 'B', REFUSED = 'R', OWN_STOPS = 'T', NO_STOPS = 't', STOP_JOB = 'S', EXITED = 'E', DIED = 'D' };

/* What the token says once the child has begun: this process was continued, or was not stopped at all. */
#define CONTINUED 1
#define NOT_STOPPED (1ull << 32)

/* Commands that a child may serve. The others need the terminal, or are rare. */
static const char *const SERVED[] = {"run",  "ps",     "logs", "wait",   "signal", "kill",
                                     "ping", "status", "export", "attach", "replay", "shell",
                                     "repl", "put",    "get",  "sync",   "cp",     "rsh"};

struct header {
    uint32_t length; /* of what follows the header */
    uint16_t version;
    uint16_t open;      /* bit N: standard file N is open, and among the descriptors */
    uint32_t arguments; /* the first of the strings; the others are the environment */
};

static char directory[MAX_PATH]; /* the real one, in which this program is */
static char **arguments;
static sigset_t mask_before;
static int open_files; /* bit N: standard file N was open when this began; what is opened here takes its number */

static _Noreturn void run_full_program(void) {
    char path[MAX_PATH + 16];
    snprintf(path, sizeof path, "%s/farhand-full", directory);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    execv(path, arguments);
    dprintf(2, "farhand: cannot execute %s: %s; install farhand again\n", path, strerror(errno));
    _exit(EXIT_FAILURE_HERE);
}

static void find_directory(void) {
    ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    char *slash = length > 0 ? strrchr(directory, '/') : NULL;
    if (slash == NULL) {
        dprintf(2, "farhand: cannot find its own program: /proc is not mounted\n");
        _exit(EXIT_FAILURE_HERE);
    }
    *slash = 0;
}

/* Whether a child could serve these arguments. --no-mux counts wherever it is; to the right of HOST it is the remote
 * command's, which then takes a little longer. */
static int may_be_served(int count) {
    const char *mux = getenv("FARHAND_MUX");
    if (count < 2 || (mux != NULL && strcmp(mux, "off") == 0))
        return 0;
    for (int at = 2; at < count; at++)
        if (strcmp(arguments[at], "--no-mux") == 0)
            return 0;
    for (size_t at = 0; at < sizeof SERVED / sizeof *SERVED; at++)
        if (strcmp(arguments[1], SERVED[at]) == 0)
            return 1;
    return 0;
}

/* In the background of a terminal, a process that reads from it has to be stopped. The child would not be. */
static int in_background(void) {
    for (int fd = 0; fd < 3; fd++) {
        pid_t group;
        if (ioctl(fd, TIOCGPGRP, &group) == 0 && group != getpgrp())
            return 1;
    }
    return 0;
}

/* FNV-1a, over the bytes of the directory: each installation has a helper of its own. */
static uint64_t tag(void) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *byte = directory; *byte; byte++)
        hash = (hash ^ (unsigned char)*byte) * 0x100000001b3u;
    return hash;
}

/* Return a socket that is connected to this user's helper, or -1. */
static int connect_to_helper(void) {
    const char *base = getenv("XDG_RUNTIME_DIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (base == NULL || *base != '/' || getuid() != geteuid())
        return -1;
    size_t size = sizeof address.sun_path;
    if ((size_t)snprintf(address.sun_path, size, "%s/farhand", base) >= size || lstat(address.sun_path, &status) ||
        !S_ISDIR(status.st_mode) || status.st_uid != geteuid() || status.st_mode & 022)
        return -1;
    if ((size_t)snprintf(address.sun_path, size, "%s/farhand/helper-%016llx.sock", base, (unsigned long long)tag()) >=
            size ||
        lstat(address.sun_path, &status) || !S_ISSOCK(status.st_mode) || status.st_uid != geteuid() ||
        status.st_mode & 077)
        return -1;
    int helper = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (helper >= 0 && (connect(helper, (struct sockaddr *)&address, sizeof address) ||
                        getsockopt(helper, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid != geteuid())) {
        close(helper);
        return -1;
    }
    return helper;
}

static int add(char *message, size_t *length, const char *text) {
    size_t size = strlen(text) + 1;
    if (size > MAX_MESSAGE - *length)
        return 0;
    memcpy(message + *length, text, size);
    *length += size;
    return 1;
}

/* Send the message, and the descriptors it needs. */
static int send_command(int helper, int count, int token) {
    static char message[MAX_MESSAGE];
    struct header header = {.version = VERSION, .open = open_files, .arguments = count - 1};
    size_t length = sizeof header;
    int descriptors[5], sent = 0;
    for (int at = 1; at < count; at++)
        if (!add(message, &length, arguments[at]))
            return 0;
    for (char **variable = environ; *variable; variable++)
        if (!add(message, &length, *variable))
            return 0;
    for (int fd = 0; fd < 3; fd++)
        if (open_files >> fd & 1)
            descriptors[sent++] = fd;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return 0;
    descriptors[sent++] = here;
    descriptors[sent++] = token;
    header.length = length - sizeof header;
    memcpy(message, &header, sizeof header);

    union {
        char bytes[CMSG_SPACE(sizeof descriptors)];
        struct cmsghdr aligned;
    } control = {0};
    struct iovec data = {message, length};
    struct msghdr parts = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes};
    parts.msg_controllen = CMSG_SPACE(sent * sizeof *descriptors);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&parts);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sent * sizeof *descriptors);
    memcpy(CMSG_DATA(rights), descriptors, sent * sizeof *descriptors);
    ssize_t written = sendmsg(helper, &parts, MSG_NOSIGNAL);
    close(here);
    return written == (ssize_t)length;
}

static int answers_within(int helper, int timeout) {
    struct pollfd ready = {.fd = helper, .events = POLLIN};
    return poll(&ready, 1, timeout) == 1;
}

/* Return a pidfd of the child that has accepted the connection, or -1 if none has. Nothing is sent before: descriptors in
 * a message that nobody receives would stay open, and whoever reads our output would wait for its end. */
static int meet_child(int helper) {
    char answer = 0;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct iovec data = {&answer, 1};
    struct msghdr parts = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
    int child = -1;
    if (!answers_within(helper, CLAIM_TIMEOUT) || recvmsg(helper, &parts, MSG_CMSG_CLOEXEC) != 1 || answer != READY)
        return -1;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&parts);
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS)
        memcpy(&child, CMSG_DATA(rights), sizeof child);
    return child;
}

/* Return the child's answer to the message, or 0 if there is none. */
static char answer_of(int helper, int timeout) {
    char answer;
    return answers_within(helper, timeout) && recv(helper, &answer, 1, 0) == 1 ? answer : 0;
}

static int take(int token) {
    uint64_t value;
    return read(token, &value, sizeof value) == sizeof value;
}

static void send_to(int child, int number) { syscall(SYS_pidfd_send_signal, child, number, NULL, 0); }

static _Noreturn void die_of(int number) {
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    _exit(128 + number);
}

static _Noreturn void child_is_gone(int fatal) {
    if (fatal) /* it has died of what we handed on, before it could handle it */
        die_of(fatal);
    dprintf(2, "farhand: the helper's process for this command has ended unexpectedly; a command that it has started "
               "goes on or is stopped as after a lost connection: see farhand ps\n");
    _exit(EXIT_FAILURE_HERE);
}

/* Stop this process by a signal that was sent to it, until it is continued. */
static void stop_here(int number) {
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    sigprocmask(SIG_BLOCK, &only, NULL);
}

/* Stop the child and this process, until this one is continued. */
static void stop_both(int child, int number) {
    send_to(child, SIGSTOP); /* its process group is orphaned, so the others would not stop it */
    stop_here(number);
    send_to(child, SIGCONT);
}

static int tell(int token, uint64_t what) { return write(token, &what, sizeof what) == sizeof what; }

/* Stop this process and its group as the terminal would, for the child, which waits until it is told. */
static void stop_job(int token, int number) {
    sigset_t pending;
    kill(0, number);
    stop_here(number);
    sigpending(&pending); /* SIGCONT is blocked, so it is pending now if this was stopped */
    if (!sigismember(&pending, SIGCONT))
        tell(token, NOT_STOPPED);
}

/* Signals by which a process is not ended. */
static int is_harmless(int number) {
    return number == SIGCONT || number == SIGWINCH || number == SIGCHLD || number == SIGURG;
}

/* Let signals act as in the full program, and return those that have to be handed on. It resets those that were ignored
 * but for SIGHUP (nohup), SIGINT (a script's &) and what Python always ignores. */
static sigset_t signals_to_pass(void) {
    sigset_t passed;
    sigfillset(&passed);
    static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPIPE, SIGXFSZ, SIGCHLD};
    for (size_t at = 0; at < sizeof ours / sizeof *ours; at++)
        sigdelset(&passed, ours[at]);
    for (int number = 1; number <= SIGRTMAX; number++) {
        struct sigaction action;
        if (!sigismember(&passed, number) || sigaction(number, NULL, &action) || action.sa_handler != SIG_IGN)
            continue;
        if (number == SIGINT || number == SIGHUP)
            sigdelset(&passed, number);
        else
            signal(number, SIG_DFL);
    }
    return passed;
}

/* Do what the child says, if it says anything; return whether it does not serve the command after all. */
static int obey(int helper, int token, int fatal, int *own_stops) {
    unsigned char said[2] = {0};
    ssize_t length = recv(helper, said, 1, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (length == 1 && *said == REFUSED)
        return 1;
    if (length == 1 && (*said == OWN_STOPS || *said == NO_STOPS)) {
        *own_stops = *said == OWN_STOPS;
        return 0;
    }
    if (length != 1 || recv(helper, said + 1, 1, 0) != 1) /* both are sent at once */
        child_is_gone(fatal);
    if (*said == EXITED)
        _exit(said[1]);
    if (*said == DIED)
        die_of(said[1]);
    if (*said != STOP_JOB)
        child_is_gone(fatal);
    stop_job(token, said[1]);
    return 0;
}

/* Hand on signals until the child says how it has ended, and end in the same way. Returns if it does not serve the
 * command after all: it has neither sent nor read anything. */
static void attend(int helper, int child, int signals, int token) {
    sigset_t passed = signals_to_pass();
    int fatal = 0, own_stops = 0;
    signalfd(signals, &passed, 0);
    signal(SIGPIPE, SIG_IGN); /* as in the full program */
    signal(SIGXFSZ, SIG_IGN);
    sigprocmask(SIG_SETMASK, &passed, NULL);
    struct pollfd ready[] = {{.fd = helper, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    for (;;) {
        if (poll(ready, 2, -1) < 0)
            continue;
        if (ready[0].revents && obey(helper, token, fatal, &own_stops))
            return;
        struct signalfd_siginfo got;
        while (read(signals, &got, sizeof got) == sizeof got) {
            int number = got.ssi_signo;
            if (number == SIGTTIN || number == SIGTTOU || (number == SIGTSTP && !own_stops)) {
                stop_both(child, number);
                continue;
            }
            if (number == SIGCONT)
                tell(token, CONTINUED);
            if (!is_harmless(number) && number != SIGTSTP)
                fatal = number;
            send_to(child, number);
        }
    }
}

int main(int count, char **given) {
    sigset_t all;
    arguments = given;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask_before); /* none may be lost or act between here and there */
    for (int fd = 0; fd < 3; fd++)
        open_files |= (fcntl(fd, F_GETFD) >= 0) << fd;
    find_directory();
    if (!may_be_served(count) || in_background())
        run_full_program();
    int helper = connect_to_helper();
    int token = helper >= 0 ? eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    int signals = token >= 0 ? signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
    if (signals < 0)
        run_full_program();
    int child = meet_child(helper);
    if (child < 0)
        run_full_program();
    char answer = send_command(helper, count, token) ? answer_of(helper, CLAIM_TIMEOUT) : 0;
    if (answer != BEGUN) {
        if (take(token)) {
            if (answer != REFUSED)
                send_to(child, SIGKILL); /* if it hangs, our descriptors must not hang with it */
            run_full_program();
        }
        if (answer_of(helper, ANSWER_TIMEOUT) != BEGUN)
            child_is_gone(0);
    }
    attend(helper, child, signals, token);
    run_full_program();
}
