"""A Service Bus emulator: AMQP 1.0 on 127.0.0.1, as far as azure-servicebus speaks it.

Spec: OASIS AMQP 1.0, and Microsoft's profile of it:
https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide and
.../service-bus-amqp-request-response. The broker runs in a thread of its own; its clock is the
machine's, moved forward by ``advance``. Faults are armed by tests and counted down as they strike.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

from proton import (
    Connection,
    Delivery,
    Disposition,
    Endpoint,
    Event,
    Handler,
    Link,
    Message,
    Receiver,
    Sender,
    Terminus,
    symbol,
)
from proton._handlers import IOHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

from shared.base.topology import Topology

from .amqp import (
    NO_FILTER,
    SESSION_FILTER,
    encode,
    error_named,
    messages,
    path,
    session_filter,
    settle,
    stamp,
)
from .entities import LockLostError, Namespace, Queue, StoredMessage

DOTNET_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
MANAGEMENT = "/$management"
MAX_MESSAGE_SIZE = 256 * 1024
DEFAULT_SESSION_WAIT_MS = 65_000
SENDER_CREDIT = 200


class Broker(Handler):
    """The emulator. ``start`` it, give ``connection_string`` to the SDK, ``stop`` it."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.namespace = Namespace(topology)
        self.counts: Counter[str] = self.namespace.counts
        self.errors: list[Exception] = []
        self._offset = timedelta()
        self._faults: Counter[str] = Counter()
        self._connections: list[Connection] = []
        self._consumers: dict[Sender, tuple[Queue, str | None]] = {}
        self._producers: set[Receiver] = set()
        self._waiting: dict[Sender, Queue] = {}
        self._replies: dict[tuple[Connection, str], Sender] = {}
        self._held: list[Delivery] = []
        self._injector = EventInjector()
        self._container = Container(self)
        self._container.selectable(self._injector)
        self._acceptor = self._container.listen("127.0.0.1:0")
        self.port: int = self._acceptor._selectable._delegate.getsockname()[1]
        self._thread = threading.Thread(target=self._container.run, daemon=True)

    # What tests use

    @property
    def connection_string(self) -> str:
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=emulator;"
            "SharedAccessKey=c3Ryb25ncm9vbQ==;UseDevelopmentEmulator=true"
        )

    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._call(self._shut_down)
        self._thread.join(timeout=10)
        if self.errors:
            raise self.errors[0]

    def advance(self, seconds: float) -> None:
        """Move the broker's clock forward: locks lapse, the duplicate window passes."""

        def move() -> None:
            self._offset += timedelta(seconds=seconds)

        self._call(move)

    def fail_sends(self, condition: str, times: int) -> None:
        """Reject the next sends, such as with ``com.microsoft:server-busy``."""
        self._arm("send:" + condition, times)

    def lose_answers(self, times: int) -> None:
        """Take the next sends, then drop the connection instead of saying so."""
        self._arm("lose-answer", times)

    def hang_sends(self, times: int) -> None:
        """Neither take nor answer the next sends."""
        self._arm("hang", times)

    def fail_settlements(self, condition: str, times: int) -> None:
        """Reject the next completions, abandonments and dead-letterings, without effect."""
        self._arm("settle:" + condition, times)

    def lose_locks(self) -> None:
        """Let every lock lapse now."""
        self._call(lambda: self._expire(self.now() + timedelta(days=1)))

    def detach_links(self, condition: str = "amqp:link:detach-forced") -> None:
        """Detach every link, as the service does when it moves an entity, or after ten idle minutes."""

        def detach() -> None:
            for link in [*self._consumers, *self._producers]:
                self._close_link(link, condition)

        self._call(detach)

    def drop_connections(self) -> None:
        """Break every connection without a word."""
        self._call(self._break_connections)

    def refuse_connections(self) -> None:
        """Stop listening, and break what is connected."""

        def refuse() -> None:
            self._acceptor.close()
            self._break_connections()

        self._call(refuse)

    def accept_connections(self) -> None:
        def accept() -> None:
            self._acceptor = self._container.listen(f"127.0.0.1:{self.port}")

        self._call(accept)

    def messages(self, subscription: str, topic: str = "events") -> list[StoredMessage]:
        return self._call(lambda: list(self._queue(topic, subscription).messages.values()))

    def dead_letters(self, subscription: str, topic: str = "events") -> list[StoredMessage]:
        dead = self._queue(topic, subscription).dead_letters
        return self._call(lambda: list(dead.messages.values()) if dead else [])

    # The thread of the reactor

    def _call(self, function: Callable[[], Any]) -> Any:
        """Run in the broker's thread, look after what became due, and hand back the result."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                result = function()
                self._expire(self.now())
                self._pump()
                future.set_result(result)
            except Exception as error:
                future.set_exception(error)

        self._injector.trigger(ApplicationEvent("order", subject=run))
        return future.result(timeout=10)

    def on_order(self, event: Event) -> None:
        event.subject()

    def on_unhandled(self, method: str, event: Event) -> None:
        """Everything that has no method of its own here is none of the broker's business."""

    def _arm(self, fault: str, times: int) -> None:
        def arm() -> None:
            self._faults[fault] += times

        self._call(arm)

    def _strikes(self, kind: str) -> str | None:
        """The armed fault of a kind, if there is one; it is used up."""
        for fault in self._faults:
            if fault.startswith(kind) and self._faults[fault] > 0:
                self._faults[fault] -= 1
                self.counts[fault] += 1
                return fault.partition(":")[2] or fault
        return None

    def _queue(self, topic: str, subscription: str) -> Queue:
        queue = self.namespace.queue(f"{topic}/Subscriptions/{subscription}")
        if queue is None:
            raise LookupError(subscription)
        return queue

    def _shut_down(self) -> None:
        self._acceptor.close()
        self._break_connections()
        self._injector.close()
        self._container.stop()

    def _break_connections(self) -> None:
        for connection in list(self._connections):
            transport = connection.transport
            if transport is not None:
                transport.close_head()
                transport.close_tail()
                # A connection that the other side broke just now has no socket any more.
                if transport._selectable is not None:
                    IOHandler.update(transport, transport._selectable, self._container.now)
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        for link in [k for k in self._consumers if k.connection == connection]:
            self._leave(link)
        for link in [k for k in self._waiting if k.connection == connection]:
            del self._waiting[link]
        self._producers = {link for link in self._producers if link.connection != connection}
        self._held = [d for d in self._held if d.connection != connection]
        self._replies = {k: v for k, v in self._replies.items() if k[0] != connection}

    def _expire(self, now: datetime) -> None:
        for queue in self.namespace.queues():
            queue.expire(now)
        for link, (queue, session) in list(self._consumers.items()):
            if session is not None and (
                session not in queue.sessions or queue.sessions[session].owner != link
            ):
                self._close_link(link, "com.microsoft:session-lock-lost")

    # Connections and links

    def on_connection_remote_open(self, event: Event) -> None:
        self.counts["connect"] += 1
        self._connections.append(event.connection)
        event.connection.container = "emulator"
        event.connection.open()

    def on_session_remote_open(self, event: Event) -> None:
        event.session.open()

    def on_session_remote_close(self, event: Event) -> None:
        event.session.close()

    def on_connection_remote_close(self, event: Event) -> None:
        event.connection.close()
        self._forget(event.connection)
        self._pump()

    def on_transport_closed(self, event: Event) -> None:
        if event.connection is not None:
            self._forget(event.connection)
            self._pump()

    def on_link_remote_close(self, event: Event) -> None:
        link = event.link
        if link.state & Endpoint.LOCAL_ACTIVE:
            link.close()
        self._waiting.pop(link, None)
        self._producers.discard(link)
        if link in self._consumers:
            self._leave(link)
            self._pump()

    def on_link_remote_open(self, event: Event) -> None:
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.snd_settle_mode = link.remote_snd_settle_mode
        link.rcv_settle_mode = link.remote_rcv_settle_mode
        address = path(link.remote_source.address if link.is_sender else link.remote_target.address)
        if address == "$cbs" or address.endswith(MANAGEMENT):
            if link.is_sender:
                self._replies[link.connection, address] = link
            self._attach(link)
        elif not link.is_sender:
            if self.namespace.topic(address) is None:
                self._refuse(link, "amqp:not-found")
            else:
                link.max_message_size = MAX_MESSAGE_SIZE
                self._producers.add(link)
                self._attach(link)
        else:
            self._attach_consumer(link, address)

    def _attach(self, link: Link) -> None:
        link.open()
        if link.is_receiver:
            link.flow(SENDER_CREDIT)

    def _refuse(self, link: Link, condition: str) -> None:
        """Attach without a terminus, then detach with the reason (AMQP 1.0, 2.6.3)."""
        (link.source if link.is_sender else link.target).type = Terminus.UNSPECIFIED
        link.open()
        self._close_link(link, condition)

    def _close_link(self, link: Link, condition: str) -> None:
        link.condition = error_named(condition)
        link.close()
        self._producers.discard(link)
        if link in self._consumers:
            self._leave(link)

    def _leave(self, link: Sender) -> None:
        queue, session = self._consumers.pop(link)
        if session is not None:
            queue.release_session(session, link)

    def _attach_consumer(self, link: Sender, address: str) -> None:
        queue = self.namespace.queue(address)
        wanted = session_filter(link)
        if queue is None:
            self._refuse(link, "amqp:not-found")
        elif queue.has_sessions != (wanted is not NO_FILTER):
            self._refuse(link, "amqp:not-allowed")
        elif not queue.has_sessions:
            self._consumers[link] = (queue, None)
            self._attach(link)
        elif wanted is None:
            self._waiting[link] = queue
            properties = link.remote_properties or {}
            wait_ms = properties.get(symbol("com.microsoft:timeout"), DEFAULT_SESSION_WAIT_MS)
            self._container.schedule(int(wait_ms) / 1000, _SessionWait(self, link))
            self._pump()
        elif not self._attach_session(link, queue, wanted):
            self._refuse(link, "com.microsoft:session-cannot-be-locked")

    def _attach_session(self, link: Sender, queue: Queue, session: str) -> bool:
        until = queue.lock_session(session, link, self.now())
        if until is None:
            return False
        link.source.filter.clear()
        link.source.filter.put_object({SESSION_FILTER: session})
        ticks = (until - DOTNET_EPOCH) // timedelta(microseconds=1) * 10
        link.properties = {symbol("com.microsoft:locked-until-utc"): ticks}
        self._consumers[link] = (queue, session)
        self._attach(link)
        return True

    def give_up_waiting(self, link: Sender) -> None:
        """No session became free in the time that the client gave."""
        if self._waiting.pop(link, None) is not None:
            self._refuse(link, "com.microsoft:timeout")

    # Messages out

    def on_link_flow(self, event: Event) -> None:
        link = event.link
        if link in self._consumers:
            self._pump()
            if link.drain_mode:
                link.drained()

    def _pump(self) -> None:
        """Hand free sessions to those who wait, and free messages to those with credit."""
        for link, queue in list(self._waiting.items()):
            session = queue.free_session()
            if session is not None:
                del self._waiting[link]
                self._attach_session(link, queue, session)
        for link, (queue, session) in list(self._consumers.items()):
            while link.credit > 0:
                message = queue.lock_next(self.now(), session)
                if message is None:
                    break
                self._deliver(link, message)

    def _deliver(self, link: Sender, stored: StoredMessage) -> None:
        assert stored.lock is not None
        delivery = link.delivery(stored.lock.bytes_le)
        delivery.lock = stored.lock
        link.stream(encode(stored))
        link.advance()
        self.counts["deliver"] += 1

    # Messages in, and what became of those that went out

    def on_delivery(self, event: Event) -> None:
        delivery, link = event.delivery, event.link
        if link.is_sender:
            if delivery.updated:
                self._on_disposition(link, delivery)
        elif delivery.readable and not delivery.partial:
            raw = link.recv(delivery.pending)
            link.advance()
            link.flow(1)
            try:
                self._on_transfer(link, delivery, raw)
            except Exception as error:
                self.errors.append(error)
                raise

    def _on_transfer(self, link: Receiver, delivery: Delivery, raw: bytes) -> None:
        address = path(link.remote_target.address)
        if address == "$cbs" or address.endswith(MANAGEMENT):
            settle(delivery, Disposition.ACCEPTED)
            request = Message()
            request.decode(raw)
            if address == "$cbs":
                self._reply(link.connection, address, request, {"status-code": 200}, None)
            else:
                self._manage(link.connection, address, request)
            return
        if self._strikes("hang"):
            self._held.append(delivery)
            return
        condition = self._strikes("send:")
        if condition is not None:
            settle(delivery, Disposition.REJECTED, condition)
            return
        topic = self.namespace.topic(address)
        assert topic is not None
        self.counts["send"] += 1
        for message in messages(raw):
            self.counts["message"] += 1
            self.namespace.publish(topic, message, self.now())
        if self._strikes("lose-answer"):
            self._break_connections()
        else:
            settle(delivery, Disposition.ACCEPTED)
        self._pump()

    def _on_disposition(self, link: Sender, delivery: Delivery) -> None:
        state, lock = delivery.remote_state, delivery.lock
        queue = self._consumers[link][0] if link in self._consumers else None
        condition = None if state == Disposition.RELEASED else self._strikes("settle:")
        if condition is None and queue is not None and lock is not None:
            try:
                self._apply(queue, lock, state, delivery.remote)
            except LockLostError:
                lost = "session-lock-lost" if queue.has_sessions else "message-lock-lost"
                condition = "com.microsoft:" + lost
        delivery.lock = None
        if not delivery.settled:
            settle(delivery, state if condition is None else Disposition.REJECTED, condition)
        else:
            delivery.settle()
        self._pump()

    def _apply(self, queue: Queue, lock: uuid.UUID, state: Any, remote: Disposition) -> None:
        if state == Disposition.ACCEPTED:
            queue.complete(lock)
            self.counts["complete"] += 1
        elif state == Disposition.MODIFIED:
            queue.abandon(lock)
            self.counts["abandon"] += 1
        elif state == Disposition.REJECTED:
            info = (remote.condition.info if remote.condition else None) or {}
            queue.dead_letter(
                lock, info.get("DeadLetterReason"), info.get("DeadLetterErrorDescription")
            )
        elif state == Disposition.RELEASED:
            queue.release(lock)

    # The management node

    def _manage(self, connection: Connection, address: str, request: Message) -> None:
        queue = self.namespace.queue(address.removesuffix(MANAGEMENT))
        operation = str(request.properties["operation"]).removeprefix("com.microsoft:")
        self.counts[operation] += 1
        if queue is None:
            self._fail(connection, address, request, 404, "amqp:not-found")
            return
        try:
            body = self._operate(queue, operation, request.body)
        except LockLostError:
            sort = "session" if queue.has_sessions else "message"
            self._fail(connection, address, request, 410, f"com.microsoft:{sort}-lock-lost")
            return
        if body is None:
            self._fail(connection, address, request, 204, "com.microsoft:message-not-found")
        else:
            self._reply(connection, address, request, {"statusCode": 200}, body)
        self._pump()

    def _operate(self, queue: Queue, operation: str, body: dict[str, Any]) -> Any:
        if operation == "renew-lock":
            tokens = list(body["lock-tokens"].elements)
            return {"expirations": [stamp(queue.renew(token, self.now())) for token in tokens]}
        if operation == "renew-session-lock":
            until = queue.renew_session(body["session-id"], self.now())
            return {"expiration": stamp(until)}
        if operation == "peek-message":
            first, count = int(body["from-sequence-number"]), int(body["message-count"])
            found = [m for m in queue.messages.values() if m.sequence >= first][:count]
            return {"messages": [{"message": encode(m)} for m in found]} if found else None
        if operation == "update-disposition":
            for token in body["lock-tokens"].elements:
                status = body["disposition-status"]
                if status == "completed":
                    queue.complete(token)
                    self.counts["complete"] += 1
                elif status == "abandoned":
                    queue.abandon(token)
                    self.counts["abandon"] += 1
                else:
                    reason = body.get("deadletter-reason")
                    queue.dead_letter(token, reason, body.get("deadletter-description"))
            return {}
        raise NotImplementedError(operation)

    def _fail(
        self, connection: Connection, address: str, request: Message, status: int, condition: str
    ) -> None:
        properties = {"statusCode": status, "errorCondition": symbol(condition)}
        self._reply(connection, address, request, properties, None)

    def _reply(
        self,
        connection: Connection,
        address: str,
        request: Message,
        properties: dict[str, Any],
        body: Any,
    ) -> None:
        answer = Message(body=body, correlation_id=request.id, properties=properties)
        link = self._replies[connection, address]
        delivery = link.delivery(uuid.uuid4().bytes)
        link.stream(answer.encode())
        link.advance()
        delivery.settle()


class _SessionWait(Handler):
    """The end of a client's wait for a free session."""

    def __init__(self, broker: Broker, link: Sender) -> None:
        super().__init__()
        self._broker, self._link = broker, link

    def on_timer_task(self, event: Event) -> None:
        self._broker.give_up_waiting(self._link)
