import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Sees to it that a client which is slow, or opens connections without end, delays nobody: a request's head has to be
/// there after ten seconds, all of it after a minute, and an address has a share of the connections.
///
/// A client that is told something before it has said all hears it, and is not listened to any more. One for each
/// connection, behind the HTTP decoder.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Of all clients: those beyond it wait to be accepted.
    static let maximumConnections = 256
    /// Of one address: those beyond it are closed.
    static let maximumConnectionsOfAddress = 64
    /// Between requests.
    static let idleTime = TimeAmount.seconds(120)
    static let headTime = TimeAmount.seconds(10)
    static let bodyTime = TimeAmount.seconds(60)
    /// From the last answer of a connection to its end: to close while the client still sends would take the answer away.
    static let farewellTime = TimeAmount.seconds(2)

    private let clients: ClientCount
    private var address: String?
    private var isCounted = false
    private var deadline: Scheduled<Void>?
    /// The answer under way is the connection's last.
    private var isLast = false
    /// The last answer is written: what the client still sends goes nowhere.
    private var isOver = false

    init(_ clients: ClientCount) { self.clients = clients }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !isCounted, deadline == nil else { return }
        address = context.remoteAddress?.ipAddress
        isCounted = clients.enter(address)
        guard isCounted else { return context.close(promise: nil) }
        expect(within: Self.headTime, context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        if isCounted { clients.leave(address) }
        isCounted = false
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        switch unwrapInboundIn(data) {
        case .head: expect(within: Self.bodyTime, context)
        case .body: break
        // What comes next may take its time; a connection without requests is `HTTP1Channel`'s to close.
        case .end: deadline?.cancel()
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if isOver { context.read() }
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        if case .head(let response) = part, response.headerFields[.connection] == "close" { isLast = true }
        context.write(data, promise: promise)
        guard isLast, case .end = part else { return }
        isOver = true
        expect(within: Self.farewellTime, context)
        context.read()
    }

    private func expect(within time: TimeAmount, _ context: ChannelHandlerContext) {
        deadline?.cancel()
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }
}

@available(*, unavailable)
extension ConnectionGuard: Sendable {}

/// Connections by the address that they come from.
final class ClientCount: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    var connections: Int { counts.withLock { $0.values.reduce(0, +) } }

    /// Whether an address may have one more.
    func enter(_ address: String?) -> Bool {
        counts.withLock { counts in
            guard counts[address ?? "", default: 0] < ConnectionGuard.maximumConnectionsOfAddress else { return false }
            counts[address ?? "", default: 0] += 1
            return true
        }
    }

    func leave(_ address: String?) {
        counts.withLock { counts in
            let left = counts[address ?? "", default: 1] - 1
            counts[address ?? ""] = left > 0 ? left : nil
        }
    }
}
