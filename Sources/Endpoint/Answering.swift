import Hummingbird
import Logging
import Synchronization

/// Has every request answered, and timed: what it ends with becomes a `Problem`.
struct Answering: RouterMiddleware {
    let latencies: RequestLatencies

    func handle(
        _ request: Request,
        context: BasicRequestContext,
        next: (Request, BasicRequestContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            response = try Problem(error).response(from: request, context: context)
        }
        let route = context.endpointPath ?? ""
        latencies.add(.init(method: request.method.rawValue, route: route, status: response.status.code), .now - start)
        return response
    }
}

/// How long requests took, from head to answer, by what was asked.
final class RequestLatencies: Sendable {
    /// What requests are told apart by. Routes are patterns, so that clients cannot make more of them.
    struct Key: Hashable {
        let method: String
        let route: String
        let status: Int
    }

    /// Requests that took at most so many seconds, for each of the bounds, then for none.
    struct Histogram {
        static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

        fileprivate(set) var counts = [UInt64](repeating: 0, count: bounds.count + 1)
        fileprivate(set) var seconds = 0.0
    }

    private let histograms = Mutex<[Key: Histogram]>([:])

    func add(_ key: Key, _ duration: Duration) {
        let seconds = duration / .seconds(1)
        // A method may be any word; the router knows those that it answers.
        let method = ["GET", "PUT", "POST", "DELETE"].contains(key.method) ? key.method : "other"
        let key = Key(method: method, route: key.route, status: key.status)
        let place = Histogram.bounds.firstIndex { seconds <= $0 } ?? Histogram.bounds.count
        histograms.withLock { histograms in
            histograms[key, default: Histogram()].counts[place] += 1
            histograms[key]!.seconds += seconds
        }
    }

    var all: [(key: Key, histogram: Histogram)] {
        let all = histograms.withLock { $0.map { (key: $0.key, histogram: $0.value) } }
        return all.sorted {
            ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
        }
    }
}
